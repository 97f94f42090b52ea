#include "config.h"

#include "tests/unit/fetch-wrong.h"

#include <string.h>

struct wrong wrong;

static bool part(const struct asked *a, uint64_t first, uint64_t last,
	const char *more)
{
	server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: %llu\r\n"
		"Content-Range: bytes %llu-%llu/%llu\r\n%s\r\n",
		(unsigned long long)(last - first + 1),
		(unsigned long long)first, (unsigned long long)last, SIZE,
		more);
	server_pattern(a, first, last);
	return true;
}

static bool right(const struct asked *a)
{
	return part(a, a->first, a->last, "");
}

static bool status(const struct asked *a, unsigned code, const char *more)
{
	server_say(a, "HTTP/1.1 %u Status\r\nContent-Length: 5\r\n%s\r\nwords",
		code, more);
	return true;
}

static bool whole(const struct asked *a, uint64_t size, const char *more)
{
	server_say(a, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n%s\r\n",
		(unsigned long long)size, more);
	server_pattern(a, 0, size - 1);
	return true;
}

static bool moved(const struct asked *a, unsigned code, const char *more,
	const char *root, const char *path)
{
	server_say(a, "HTTP/1.1 %u Moved\r\nContent-Length: 5\r\n%s"
		"Location: %s%s\r\n\r\nmoved", code, more, root, path);
	return true;
}

static bool is(const struct asked *a, const char *name)
{
	const char *p = strrchr(a->path, '/') + 1;
	size_t n = strcspn(p, "?");

	return n == strlen(name) && !strncmp(p, name, n);
}

/* Half of what was asked, then the connection ends; afterwards all. */
static bool cut(const struct asked *a)
{
	uint64_t half = a->first + (a->last - a->first) / 2;

	if (a->nth)
		return right(a);
	server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: %llu\r\n"
		"Content-Range: bytes %llu-%llu/%llu\r\n\r\n",
		(unsigned long long)(a->last - a->first + 1),
		(unsigned long long)a->first, (unsigned long long)a->last,
		SIZE);
	server_pattern(a, a->first, half);
	return false;
}

static bool stalled(const struct asked *a, bool always)
{
	if (a->nth && !always)
		return right(a);
	server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: %llu\r\n"
		"Content-Range: bytes %llu-%llu/%llu\r\n\r\n",
		(unsigned long long)(a->last - a->first + 1),
		(unsigned long long)a->first, (unsigned long long)a->last,
		SIZE);
	server_pattern(a, a->first, a->first);
	server_stall(a);
	return false;
}

static bool lies(const struct asked *a)
{
	if (is(a, "wrong-range"))
		return part(a, a->first + 1, a->last, "");
	if (is(a, "wrong-range-once"))
		return a->nth ? right(a) : part(a, a->first + 1, a->last, "");
	if (is(a, "wrong-length"))
		return whole(a, SIZE - 1, "");
	if (is(a, "html"))
		return whole(a, SIZE, "Content-Type: text/html\r\n");
	if (is(a, "right.html"))
		return whole(a, SIZE, "Content-Type: text/html\r\n");
	if (is(a, "gzip"))
		return part(a, a->first, a->last,
			"Content-Encoding: gzip\r\n");
	if (is(a, "other-commit"))
		return part(a, a->first, a->last,
			"X-Repo-Commit: " OTHER "\r\n");
	if (is(a, "other-size"))
		return part(a, a->first, a->last, "X-Linked-Size: 1\r\n");
	if (is(a, "other-etag"))
		return part(a, a->first, a->last,
			"X-Linked-ETag: \"" SHB "\"\r\n");
	if (is(a, "true-words"))
		return part(a, a->first, a->last, "X-Repo-Commit: " COMMIT
			"\r\nX-Linked-Size: 3145728\r\nX-Linked-ETag: \"" SHA
			"\"\r\nETag: \"" SHB "\"\r\n");
	if (is(a, "goes-on")) {
		server_say(a, "HTTP/1.1 200 OK\r\n\r\n");
		server_pattern(a, 0, SIZE + 99);
		return false;
	}
	if (is(a, "behind-the-end")) {
		server_say(a, "HTTP/1.1 416 No\r\nContent-Length: 0\r\n"
			"Content-Range: bytes */%llu\r\n\r\n", SIZE - 2000);
		return true;
	}
	if (is(a, "behind-on-a-page")) {
		server_say(a, "HTTP/1.1 416 No\r\nContent-Length: 2\r\n"
			"Content-Type: text/html\r\n"
			"Content-Range: bytes */%llu\r\n\r\nno", SIZE - 2000);
		return true;
	}
	if (is(a, "behind-unsaid")) {
		server_say(a, "HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n");
		return true;
	}
	if (is(a, "ends-early")) {
		server_say(a, "HTTP/1.1 200 OK\r\n\r\n");
		server_pattern(a, 0, SIZE - 100);
		return false;
	}
	if (is(a, "long-header")) {
		for (int i = 0; i < 4; i++)
			server_say(a, "%s: %030000d\r\n", i ? "X" :
				"HTTP/1.1 200 OK\r\nX", 1);
		return false;
	}
	return status(a, 404, "");
}

bool wrong_hub(const struct asked *a, void *arg)
{
	(void) arg;
	if (is(a, "plain") || is(a, "cached"))
		return right(a);
	if (is(a, "cut"))
		return cut(a);
	if (is(a, "busy"))
		return a->nth < 2 ? status(a, 503, "") : right(a);
	if (is(a, "always-busy"))
		return status(a, 502, "");
	if (is(a, "nothing"))
		return a->nth ? right(a) : false;
	if (is(a, "stall"))
		return stalled(a, false);
	if (is(a, "always-stall"))
		return stalled(a, true);
	if (is(a, "short"))
		return part(a, a->first, a->last - a->first < 100 * KB ?
			a->last : a->first + 100 * KB, "");
	if (is(a, "ignored"))
		return whole(a, SIZE, "");
	if (is(a, "no-length")) {
		server_say(a, "HTTP/1.1 200 OK\r\n\r\n");
		server_pattern(a, 0, SIZE - 1);
		return false;
	}
	if (is(a, "missing"))
		return status(a, 404, "X-Error-Code: EntryNotFound\r\n");
	if (is(a, "gated"))
		return status(a, 403, "X-Error-Code: GatedRepo\r\n"
			"X-Error-Message: Please ask for access.\r\n");
	if (is(a, "small"))
		return moved(a, 307, "X-Repo-Commit: " COMMIT "\r\n", "",
			"/api/resolve-cache/cached?%2Fo%2Fm=&etag=%22x%22");
	if (is(a, "lfs"))
		return moved(a, 302, "X-Linked-ETag: \"" SHA "\"\r\n",
			server_root(wrong.cdn),
			"/lfs?Expires=99999999999&S=secret");
	if (is(a, "lfs-back"))
		return moved(a, 302, "", server_root(wrong.cdn), "/lfs-back");
	if (is(a, "expires"))
		return moved(a, 302, "", server_root(wrong.cdn), a->nth ?
			"/expires?S=2" : "/expires?S=1");
	if (is(a, "never-valid"))
		return moved(a, 302, "", server_root(wrong.cdn),
			"/never-valid");
	if (is(a, "moves"))
		return moved(a, 302, "", server_root(wrong.moving_cdn),
			"/moves");
	if (is(a, "loop"))
		return moved(a, 302, "", "", a->path);
	if (is(a, "to-file"))
		return moved(a, 302, "", "file://", "/etc/passwd");
	if (is(a, "nowhere"))
		return status(a, 302, "");
	return lies(a);
}

bool wrong_cdn(const struct asked *a, void *arg)
{
	(void) arg;
	if (is(a, "lfs-back"))
		return moved(a, 302, "", server_root(wrong.hub), "/back/plain");
	if (is(a, "expires"))	/* the first signature holds for one request */
		return strstr(a->path, "S=1") && a->nth ?
			status(a, 403, "") : right(a);
	if (is(a, "never-valid"))
		return status(a, 403, "");
	return right(a);
}
