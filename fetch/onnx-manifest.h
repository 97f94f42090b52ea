/*
 * Which manifest the ONNX zoo is shown by. One ships with OmniHub; each time
 * somebody asks for the zoo, the hub is asked (conditionally) for a newer one.
 * The answer waits for that a moment at most: then the one at hand serves, for a
 * second (fetch_snapshot.at_hand_ms), and what comes later is for who asks next.
 *
 * A revision is the SHA-256 of a manifest's text. What was seen is kept in the
 * cache (as recipes: checked, and independent of the index), so that its
 * listing can be made again and the next process begins with it.
 */
#ifndef FETCH_ONNX_MANIFEST_H
#define FETCH_ONNX_MANIFEST_H

#include "fetch/hub.h"

/* Of fetch_hub_ops. The manifest's address is the hub's endpoint
 * ONNX_MANIFEST. */
#define ONNX_MANIFEST 1
int fetch_onnx_open(struct fetch_hub *h, struct error *why);
void fetch_onnx_close(struct fetch_hub *h);
void fetch_onnx_answer(struct fetch_query *q);

#endif
