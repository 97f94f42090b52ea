/*
 * What libfuse 3.14 cannot say to the kernel. Its INIT answer knows neither
 * passthrough nor mmap of direct files, and forgets PARALLEL_DIROPS, without
 * which one look-up that waits for a hub blocks its whole directory. So its
 * reads and writes of /dev/fuse go through here, and the one INIT answer is
 * completed on its way out. The structures are our own: the kernel's layout is
 * for ever, the installed headers are older than it.
 *
 * They go through a descriptor of our own, too: libfuse closes its one when it
 * unmounts, and a late answer must not go into whatever file gets that number.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fs/handover.h"
#include "fs/ll.h"

#define PX_HAS_RESEND (1ULL << 39)
#define PX_NOTIFY_RESEND 7
#define PX_PASSTHROUGH (1ULL << 37)
#define PX_DIRECT_IO_ALLOW_MMAP (1ULL << 36)

#define PAGE 4096		/* or larger */
#define REQUEST_MAX (3 * PAGE)	/* bytes, wherever in a page they begin */

/* Minor versions of the protocol from which a kernel knows them. */
#define MINOR_CACHE_DIR 28
#define MINOR_NOFLUSH 35

struct px_init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2;
	uint32_t max_stack_depth;
	uint32_t unused[6];
};
_Static_assert(sizeof(struct px_init_out) == 64, "as the kernel has it");
_Static_assert(offsetof(struct px_init_out, flags2) == 32, "likewise");

struct px_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define PX_BACKING_OPEN _IOW(229, 1, struct px_backing_map)
#define PX_BACKING_CLOSE _IOW(229, 2, uint32_t)

static void see_init(struct ll *ll, const char *buf, size_t len)
{
	struct fuse_in_header h;
	struct fuse_init_in in = { 0 };
	size_t body;

	if (len < sizeof(h))
		return;
	memcpy(&h, buf, sizeof(h));
	if (h.opcode != FUSE_INIT)
		return;
	if (!ll->init_known && len <= FS_HANDOVER_INIT_MAX) {
		memcpy(fs_handover_head(ll->handover)->init, buf, len);
		atomic_store(&fs_handover_head(ll->handover)->init_len,
			(uint32_t)len);
	}
	body = len - sizeof(h) < sizeof(in) ? len - sizeof(h) : sizeof(in);
	memcpy(&in, buf + sizeof(h), body);
	ll->kernel_minor = in.minor;
	ll->kernel_flags = in.flags;
	if (in.flags & FUSE_INIT_EXT)
		ll->kernel_flags |= (uint64_t)in.flags2 << 32;
	atomic_store(&fs_handover_head(ll->handover)->resends,
		(ll->kernel_flags & PX_HAS_RESEND) != 0);
	atomic_store(&ll->init_unique, h.unique);
}

/* A thread that is being killed still takes a request, but faults no page in
 * any more, and then the kernel ends the request with EIO: what it copies to
 * must be there before. A header and two names are less than this. */
static void be_there(void *buf, size_t len)
{
	volatile char *p = buf;

	for (size_t at = 0; at < len && at < REQUEST_MAX; at += PAGE)
		p[at] = 0;
}

static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
	struct ll *ll = userdata;
	ssize_t n;

	(void) fd;
	do {
		be_there(buf, len);
		n = read(ll->device, buf, len);
	} while (n > 0 && ll->resume && ll_resume_take(ll, buf, (size_t)n));
	if (n > 0 && !atomic_load(&ll->init_unique))
		see_init(ll, buf, (size_t)n);
	/* Both say that the mount has ended; to libfuse only one does. */
	if (n < 0 && errno == ECONNABORTED)
		errno = ENODEV;
	return n;
}

/* What was agreed on, for people. */
static void note_agreed(struct ll *ll, const struct px_init_out *o)
{
	char text[256];

	(void) snprintf(text, sizeof(text), "protocol 7.%u, pages kept, "
		"replies from mappings%s%s%s%s", ll->kernel_minor,
		ll->kernel_minor >= MINOR_NOFLUSH ? ", no flush" : "",
		ll->kernel_minor >= MINOR_CACHE_DIR ? ", directories cached" :
		"", o->flags & FUSE_READDIRPLUS_AUTO ? ", readdirplus auto" :
		o->flags & FUSE_DO_READDIRPLUS ? ", readdirplus" : "",
		o->flags & FUSE_PARALLEL_DIROPS ? ", parallel look-ups" : "");
	fs_status_note(ll->fs, "kernel", text);
}

static const char *passthrough_of(const struct ll *ll)
{
	if (atomic_load(&ll->passthrough))
		return "yes";
	return ll->no_passthrough ? "no (mount.passthrough)" :
		"no (the kernel has none)";
}

static void complete_init(struct ll *ll, struct px_init_out *o)
{
	if (ll->kernel_flags & FUSE_PARALLEL_DIROPS)
		o->flags |= FUSE_PARALLEL_DIROPS;
	note_agreed(ll, o);
	if (o->flags & FUSE_INIT_EXT &&
	    ll->kernel_flags & PX_DIRECT_IO_ALLOW_MMAP)
		o->flags2 |= PX_DIRECT_IO_ALLOW_MMAP >> 32;
	if (o->flags & FUSE_INIT_EXT && ll->kernel_flags & PX_PASSTHROUGH &&
	    !ll->no_passthrough) {
		o->flags2 |= PX_PASSTHROUGH >> 32;
		o->max_stack_depth = 1;
		atomic_store(&ll->passthrough, true);
	}
	fs_note_passthrough(ll->fs, atomic_load(&ll->passthrough),
		passthrough_of(ll));
	fs_sandbox_expect(ll->fs);
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct ll *ll = userdata;
	const struct fuse_out_header *h = iov[0].iov_base;
	bool init = false;
	ssize_t n;

	(void) fd;
	if (!atomic_load(&ll->init_done) && count == 2 && h->error == 0 &&
		h->unique == atomic_load(&ll->init_unique) &&
		iov[1].iov_len == sizeof(struct px_init_out)) {
		atomic_store(&ll->init_done, true);
		complete_init(ll, iov[1].iov_base);
		init = true;
	}
	if (init && ll->init_known)
		return (ssize_t)h->len;
	n = writev(ll->device, iov, count);
	if (init && n > 0)
		atomic_store(&fs_handover_head(ll->handover)->init_answered,
			true);
	return n;
}

int ll_custom_io(struct ll *ll)
{
	static const struct fuse_custom_io io = {
		.read = io_read,
		.writev = io_writev,
	};

	/* dup() and not fcntl(): ThreadSanitizer sees that what is written to
	 * a device and then read from it comes in this order. */
	ll->device = dup(fuse_session_fd(ll->se));
	if (ll->device < 0 || fcntl(ll->device, F_SETFD, FD_CLOEXEC))
		return -errno;
	return fuse_session_custom_io(ll->se, &io, fuse_session_fd(ll->se));
}

int ll_init_again(struct ll *ll)
{
	struct fs_handover_head *head = fs_handover_head(ll->handover);
	struct fuse_out_header resend = { .len = sizeof(resend),
		.error = PX_NOTIFY_RESEND };
	uint8_t request[FS_HANDOVER_INIT_MAX];
	struct fuse_buf buf = { .mem = request };

	if (atomic_load(&head->init_answered)) {
		buf.size = atomic_load(&head->init_len);
		memcpy(request, head->init, sizeof(request));
		ll->init_known = true;
		see_init(ll, (const char *)request, buf.size);
		fuse_session_process_buf(ll->se, &buf);
		if (!atomic_load(&ll->init_done))
			return -EPROTO;
	}
	return write(ll->device, &resend, sizeof(resend)) < 0 ? -errno : 0;
}

void ll_op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct ll *ll = userdata;

	(void) ll;
	/* Of a read ahead the kernel sends, nobody waits but on a page's lock,
	 * and that only a deadly signal ends. Sent by the reader itself, the
	 * request can be interrupted. Reading ahead is done here anyway. */
	conn->want &= ~FUSE_CAP_ASYNC_READ;
	/* Reads that wait for a hub must never use up the places of reads of
	 * files that are here. */
	conn->max_background = 16384;
	conn->congestion_threshold = 12288;
}

int ll_backing_open(struct ll *ll, int fd)
{
	struct px_backing_map m = { .fd = fd };
	int id = ioctl(ll->device, PX_BACKING_OPEN, &m);

	return id < 0 ? -errno : id;
}

void ll_backing_close(struct ll *ll, int id)
{
	uint32_t which = (uint32_t)id;

	(void) ioctl(ll->device, PX_BACKING_CLOSE, &which);
}
