/*
 * A whole reply in memory, under a ceiling: what hubs answer to questions.
 * Engine thread.
 */
#ifndef FETCH_DOCUMENT_H
#define FETCH_DOCUMENT_H

#include "base/buf.h"
#include "base/error.h"
#include "fetch/auth.h"
#include "fetch/engine.h"
#include "fetch/transfer.h"

#define DOCUMENT_MAX (32u << 20)	/* bytes of one reply */

struct fetch_document {
	struct buf body;	/* while done() runs; .max may be lowered */
	char *next;		/* Link rel="next" as an address, or NULL */
	/* err 0: body and next are there. The document may be freed
	 * (fetch_document_free) or asked again by it. */
	void (*done)(struct fetch_document *d, int err,
		const struct error *why);
	void *arg;		/* the asker's */
	const char *lines;	/* the asker's: more header lines, or NULL */
	const char *post;	/* the asker's: what to POST, or NULL */
	/* Of the reply. unchanged: 304, what `lines` named; no body.
	 * validator: the header line to name this one with, or NULL. */
	bool unchanged;
	char *validator;
	int64_t modified;	/* Last-Modified, seconds since 1970; 0: none */

	char *url;
	struct fetch_transfer transfer;
};

/* NULL: out of memory. */
struct fetch_document *fetch_document_new(struct fetch_engine *e,
	const struct fetch_auth *auth);
/* Not while it is being asked. NULL is fine. */
void fetch_document_free(struct fetch_document *d);
/* url is taken over. done() is never called from inside. */
void fetch_document_ask(struct fetch_document *d, char *url);

#endif
