/* Sizes, tensors and values of a program that is walked over (script.h). */
#ifndef STAGE_SCRIPT_VALUE_H
#define STAGE_SCRIPT_VALUE_H

#include "base/map.h"
#include "stage/format/torch-state.h"
#include "stage/graph.h"
#include "stage/script-ast.h"

/* ---- sizes ----------------------------------------------------------------- */

#define TS_DEGREE_MAX 4
#define TS_TERMS_MAX 12
#define TS_ATOMS_MAX 4096

struct ts_term {
	int64_t coef;
	unsigned n;			/* of atoms; 0: the constant */
	uint16_t atom[TS_DEGREE_MAX];	/* sorted */
};

/* A polynomial: terms sorted by their atoms, none with coef 0, not a number
 * alone. */
struct ts_sym {
	unsigned n;
	struct ts_term t[];
};

struct ts_dim {
	int64_t n;
	const struct ts_sym *sym;	/* NULL: n */
};

struct ts_atom {
	unsigned input, axis;		/* a size of an input, or */
	const struct ts_sym *of;	/* floor(of / by) */
	int64_t by;
	const char *text;
	struct ts_val *val;		/* i64[1], when it was needed */
};

/* ---- tensors --------------------------------------------------------------- */

struct ts_type {
	enum stage_dtype dtype;		/* 0: not known yet (an input) */
	unsigned rank;
	struct ts_dim dim[STAGE_RANK_MAX];
};

enum ts_origin { TS_INPUT, TS_WEIGHT, TS_CONST, TS_RESULT };

/* A tensor that does not change: what operators read and give. */
struct ts_val {
	enum ts_origin origin;
	struct ts_type t;
	const char *name;		/* in the graph */
	struct ts_node *node;		/* RESULT */
	unsigned input;			/* INPUT: index */
	struct stage_tensor weight;	/* WEIGHT: where */
	const uint8_t *data;		/* CONST: little-endian, row-major */
	size_t len;
	bool wrapped;			/* counts as a number, not as tensor */
	bool wanted;
};

struct ts_node {
	const char *op;
	struct ts_val **in, **out;	/* in: NULL is left out */
	size_t n_in, n_out;
	struct stage_attr *attrs;
	size_t n_attrs;
	struct ts_node *next, *before;
};

/* Memory several tensors look at. */
struct ts_base {
	unsigned version;
	bool fixed;			/* not to be written: a parameter */
	unsigned born;			/* of ts.births */
};

/* What the program calls a tensor: can be written in place. */
struct ts_tensor {
	struct ts_val *val;
	struct ts_base *base;
	unsigned version;		/* of base, when it was right */
};

/* ---- values ---------------------------------------------------------------- */

enum ts_kind {
	TS_NONE, TS_BOOL, TS_INT, TS_FLOAT, TS_STR, TS_SYM,
	TS_UNSURE,		/* sym REL 0, not known */
	TS_LIST, TS_TUPLE, TS_DICT, TS_TENSOR, TS_OBJECT,
	TS_PATH,		/* torch.add, __torch__.m.f */
	TS_UNSET,
	TS_BLANK,		/* uninitialized(T) */
	TS_TORN,		/* another in each way of a choice */
};

enum ts_rel { TS_EQ, TS_NE, TS_LT, TS_LE, TS_GT, TS_GE };

struct ts_value {
	enum ts_kind kind;
	enum ts_rel rel;	/* UNSURE */
	union {
		bool b;
		int64_t i;
		double f;
		const char *s;		/* STR, PATH */
		const struct ts_sym *sym;
		struct ts_list *list;	/* LIST, TUPLE; DICT: k, v, k, v */
		struct ts_tensor *tensor;
		struct ts_object *object;
	} u;
};

struct ts_list {
	struct ts_value *v;
	size_t n, room;
	unsigned born;		/* of ts.births */
};

struct ts_object {
	const char *module, *name;	/* "__torch__.m", "C" */
	const char *path;		/* in the tree of modules: "layer1.0" */
	const struct ts_class *cls;	/* NULL: not looked for yet */
	const struct stage_py *state;	/* of the pickle, or NULL */
	struct map attrs;		/* -> struct ts_slot */
	unsigned born;			/* of ts.births; 0: of the archive */
};

struct ts_slot {
	struct ts_value v;
	bool written, read_first;	/* by the program */
};

#endif
