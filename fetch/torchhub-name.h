/* What GitHub lets be a name (hubs.md 2.6). No network. */
#ifndef FETCH_TORCHHUB_NAME_H
#define FETCH_TORCHHUB_NAME_H

#include <stdbool.h>

bool fetch_github_owner_ok(const char *owner);
bool fetch_github_repo_ok(const char *repo);	/* OWNER/NAME */
/* All of a SHA-1's digits, in small letters. */
bool fetch_github_is_commit(const char *s);
/* What git lets be a reference (git-check-ref-format). */
bool fetch_github_ref_ok(const char *ref);

#endif
