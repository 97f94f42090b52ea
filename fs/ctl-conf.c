/* /.omnihub/config: every key, its value and where it comes from. */
#include "config.h"

#include "base/conf.h"
#include "fs/ctl.h"
#include "fs/tree.h"

static const char *origin_name(enum conf_origin from)
{
	switch (from) {
	case CONF_ECOSYSTEM:
	case CONF_ENV:
		return "environment";
	case CONF_FILE:
		return "file";
	case CONF_ARG:
		return "command line";
	case CONF_DEFAULT:
		break;
	}
	return "default";
}

static int show_key(void *arg, const char *key, const char *shown,
	enum conf_origin from)
{
	struct buf *ret = arg;

	if (!shown)
		return buf_printf(ret, "# %s is not set\n", key);
	return buf_printf(ret, "%s = %s\t# %s\n", key, shown,
		origin_name(from));
}

int fs_ctl_config(struct fs *fs, struct buf *ret)
{
	return conf_each(fs->conf, show_key, ret);
}
