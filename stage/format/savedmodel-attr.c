/* What attributes say: AttrValue and TensorProto, field by field. */
#include "config.h"

#include <string.h>

#include "stage/format/savedmodel.h"

#define STRING_MAX 8192		/* bytes of a string we look at */

bool stage_savedmodel_offset(const struct stage_savedmodel *m,
	const uint8_t *p, uint64_t *ret)
{
	if ((uintptr_t)p < (uintptr_t)m->image ||
	    (uintptr_t)p - (uintptr_t)m->image > m->size)
		return false;
	*ret = (uintptr_t)p - (uintptr_t)m->image;
	return true;
}

const struct stage_tf_attr *stage_tf_attr(const struct stage_tf_node *n,
	const char *key)
{
	for (size_t i = 0; i < n->n_attr; i++)
		if (!strcmp(n->attr[i].key, key))
			return &n->attr[i];
	return NULL;
}

static bool find(struct bytes m, uint32_t number, struct stage_wire *ret)
{
	struct stage_wire f;
	bool found = false;

	while (stage_wire_next(&m, &f) > 0) {
		if (f.number == number) {
			*ret = f;
			found = true;
		}
	}
	return found;
}

bool stage_tf_value(const struct stage_tf_attr *a, uint32_t field,
	struct stage_wire *ret)
{
	return a && find(bytes_of(a->value, a->len), field, ret);
}

/* NameAttrList: name 1 */
static const char *list_name(struct stage_savedmodel *m, struct bytes list)
{
	struct stage_wire f;

	if (!find(list, 1, &f) || f.type != STAGE_WIRE_BYTES ||
	    f.value > STRING_MAX)
		return NULL;
	return stage_arena_copy(&m->arena, f.body.p, (size_t)f.value);
}

/* AttrValue.func 10 */
const char *stage_tf_func(struct stage_savedmodel *m,
	const struct stage_tf_node *n, const char *key)
{
	struct stage_wire f;

	if (!stage_tf_value(stage_tf_attr(n, key), 10, &f) ||
	    f.type != STAGE_WIRE_BYTES)
		return NULL;
	return list_name(m, f.body);
}

/* AttrValue.list 1: func 9 */
int stage_tf_funcs(struct stage_savedmodel *m, const struct stage_tf_node *n,
	const char *key, const char **ret, size_t room)
{
	struct stage_wire list, f;
	size_t at = 0;

	if (!stage_tf_value(stage_tf_attr(n, key), 1, &list) ||
	    list.type != STAGE_WIRE_BYTES)
		return -EBADMSG;
	while (stage_wire_next(&list.body, &f) > 0) {
		if (!stage_wire_is(&f, 9, STAGE_WIRE_BYTES))
			continue;
		if (at == room)
			return -EBADMSG;
		ret[at] = list_name(m, f.body);
		if (!ret[at++])
			return -EBADMSG;
	}
	return list.body.bad ? -EBADMSG : (int)at;
}

static bool add_type(uint64_t type, unsigned *ret, size_t room, size_t *at)
{
	if (*at == room || type > 200)
		return false;
	ret[(*at)++] = (unsigned)type % 100;
	return true;
}

/* AttrValue.list 1: type 6, packed or not */
int stage_tf_types(const struct stage_tf_node *n, const char *key,
	unsigned *ret, size_t room)
{
	struct stage_wire list, f;
	size_t at = 0;
	bool good = true;

	if (!stage_tf_value(stage_tf_attr(n, key), 1, &list) ||
	    list.type != STAGE_WIRE_BYTES)
		return -EBADMSG;
	while (good && stage_wire_next(&list.body, &f) > 0) {
		if (stage_wire_is(&f, 6, STAGE_WIRE_VARINT))
			good = add_type(f.value, ret, room, &at);
		while (stage_wire_is(&f, 6, STAGE_WIRE_BYTES) && good &&
		       bytes_left(&f.body))
			good = add_type(bytes_varint(&f.body), ret, room,
				&at) && !f.body.bad;
	}
	return good && !list.body.bad ? (int)at : -EBADMSG;
}

unsigned stage_tf_type(const struct stage_tf_node *n, const char *key)
{
	struct stage_wire f;

	if (!stage_tf_value(stage_tf_attr(n, key), 6, &f) ||
	    f.type != STAGE_WIRE_VARINT || f.value > 200)
		return 0;
	return (unsigned)f.value % 100;
}

static size_t count_strings(struct bytes tensor)
{
	struct stage_wire f;
	size_t n = 0;

	while (stage_wire_next(&tensor, &f) > 0)
		n += stage_wire_is(&f, 8, STAGE_WIRE_BYTES);
	return n;
}

/* AttrValue.tensor 8: TensorProto, string_val 8 */
int stage_tf_const_strings(struct stage_savedmodel *m,
	const struct stage_tf_node *n, const char ***ret)
{
	struct stage_wire f;
	struct bytes tensor;
	const char **v;
	size_t at = 0, room;

	if (strcmp(n->op, "Const") != 0 ||
	    !stage_tf_value(stage_tf_attr(n, "value"), 8, &f) ||
	    f.type != STAGE_WIRE_BYTES)
		return -EBADMSG;
	tensor = f.body;
	room = count_strings(tensor);
	v = stage_arena_array(&m->arena, room, sizeof(*v));
	if (!v || !room || room > INT32_MAX)
		return -EBADMSG;
	while (stage_wire_next(&tensor, &f) > 0) {
		if (!stage_wire_is(&f, 8, STAGE_WIRE_BYTES))
			continue;
		if (f.value > STRING_MAX || (f.value &&
			    memchr(f.body.p, 0, (size_t)f.value)))
			return -EBADMSG;
		v[at] = stage_arena_copy(&m->arena, f.body.p,
			(size_t)f.value);
		if (!v[at++])
			return -EBADMSG;
	}
	*ret = v;
	return (int)at;
}
