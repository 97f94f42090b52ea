/* Programs of torch (TorchScript and torch.export) to operators: the door of
 * script*.c for the stager. */
#ifndef STAGE_TORCHSCRIPT_H
#define STAGE_TORCHSCRIPT_H

#include "base/error.h"
#include "base/src.h"
#include "stage/graph.h"

/* s is the archive; path is how the graph's weights call it. -ENOTSUP with
 * file, line and operator; -EBADMSG: it contradicts its format; -EFBIG; what
 * reading gave. Waits. */
int stage_script_run(struct src *s, const char *path, unsigned opset,
	struct stage_graph **ret, struct error *why);
/* *ret is "script", "export", or NULL (neither), by the archive's directory
 * alone. -EBADMSG: no zip. Waits. */
int stage_script_probe(struct src *s, const char **ret, struct error *why);
/* The calls that are known, for tables: each name once. fn: not 0 ends it. */
int stage_script_operators(int (*fn)(void *arg, const char *name), void *arg);

#endif
