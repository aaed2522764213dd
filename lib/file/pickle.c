/* SPDX-License-Identifier: MIT
 * A restricted pickle machine (opcodes: Python's pickletools module). A stack of values, marks on
 * it, a memo of values put aside, and objects that opcodes append to. Everything is an index into a
 * growing array, so nothing is called, followed or copied in depth: a pickle that would expand
 * without bounds in Python stays as small as its text here. */
#include "file/pickle.h"

#include <string.h>

#include "base/bytes.h"

enum { MAX_LINE = 256 }; /* bytes of a module's or a global's name */

typedef struct machine {
    nib__pickle *out;
    const nib__shard *shard;
    const char *what;
    nib__cursor c;
    size_t at; /* of the opcode being executed */
    const nib__pickle_global *globals;
    size_t n_globals;
    nib__pickle_value *stack, *memo;
    size_t n_stack, cap_stack, n_memo, cap_memo;
    size_t *marks; /* heights of the stack */
    size_t n_marks, cap_marks;
    size_t floor; /* of the topmost mark: what is below cannot be popped */
    nib_error *err;
} machine;

/* ---- messages ---- */

static nib_status fail(machine *m, nib_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static nib_status fail(machine *m, nib_status code, const char *format, ...)
{
    char message[200];
    va_list args;
    va_start(args, format);
    nib__text_v(message, sizeof message, format, args);
    va_end(args);
    uint64_t offset = (uint64_t)(m->c.base - m->shard->map.data) + m->at;
    return nib__fail_file(m->err, code, offset, m->shard->path, "%s: byte %zu: %s", m->what, m->at,
                          message);
}

static nib_status cut_off(machine *m)
{
    return fail(m, NIB_ERR_FORMAT, "the pickle ends (at %zu bytes) before its STOP", m->c.size);
}

/* ---- growing arrays ---- */

static nib_status reserve(machine *m, void **items, size_t *cap, size_t need, size_t size)
{
    if (need > NIB__PICKLE_MAX_VALUES)
        return fail(m, NIB_ERR_LIMIT, "more than %d values", NIB__PICKLE_MAX_VALUES);
    if (nib__grow(&m->out->mem, items, cap, need, size)) return NIB_OK;
    return fail(m, NIB_ERR_MEMORY, "out of memory for a pickle");
}

static nib_status push(machine *m, nib__pickle_value value)
{
    void *stack = m->stack;
    nib_status status = reserve(m, &stack, &m->cap_stack, m->n_stack + 1, sizeof *m->stack);
    m->stack = stack;
    if (status == NIB_OK) m->stack[m->n_stack++] = value;
    return status;
}

static nib_status push_integer(machine *m, nib__pickle_type type, int64_t integer)
{
    return push(m, (nib__pickle_value){.type = (uint8_t)type, .integer = integer});
}

static nib_status push_object(machine *m, nib__pickle_type type)
{
    nib__pickle *p = m->out;
    void *objects = p->objects;
    nib_status status = reserve(m, &objects, &p->cap_objects, p->n_objects + 1, sizeof *p->objects);
    p->objects = objects;
    if (status != NIB_OK) return status;
    p->objects[p->n_objects] = (nib__pickle_object){0, 0};
    return push(m, (nib__pickle_value){.type = (uint8_t)type, .at = p->n_objects++});
}

static nib_status append(machine *m, nib__pickle_value object, nib__pickle_value key,
                         nib__pickle_value value)
{
    nib__pickle *p = m->out;
    void *nodes = p->nodes;
    nib_status status = reserve(m, &nodes, &p->cap_nodes, p->n_nodes + 1, sizeof *p->nodes);
    p->nodes = nodes;
    if (status != NIB_OK) return status;
    p->nodes[p->n_nodes++] = (nib__pickle_node){key, value, 0};
    nib__pickle_object *o = &p->objects[object.at];
    uint32_t node = (uint32_t)p->n_nodes;
    if (o->last != 0)
        p->nodes[o->last - 1].next = node;
    else
        o->first = node;
    o->last = node;
    return NIB_OK;
}

/* ---- stack ---- */

static nib_status underflow(machine *m)
{
    return fail(m, NIB_ERR_FORMAT, "an opcode takes more than the stack holds");
}

static bool pop(machine *m, nib__pickle_value *value)
{
    if (m->n_stack <= m->floor) return false;
    *value = m->stack[--m->n_stack];
    return true;
}

static nib_status push_mark(machine *m)
{
    void *marks = m->marks;
    nib_status status = reserve(m, &marks, &m->cap_marks, m->n_marks + 1, sizeof *m->marks);
    m->marks = marks;
    if (status == NIB_OK) m->marks[m->n_marks++] = m->floor = m->n_stack;
    return status;
}

/* *first: where the values above the topmost mark begin; the mark is taken away. */
static bool pop_mark(machine *m, size_t *first)
{
    if (m->n_marks == 0) return false;
    *first = m->marks[--m->n_marks];
    m->floor = m->n_marks == 0 ? 0 : m->marks[m->n_marks - 1];
    return true;
}

/* Replaces the topmost n values by one that holds them. */
static nib_status gather(machine *m, size_t n)
{
    nib__pickle *p = m->out;
    if (m->n_stack - m->floor < n) return underflow(m);
    void *items = p->items;
    nib_status status = reserve(m, &items, &p->cap_items, p->n_items + n, sizeof *p->items);
    p->items = items;
    if (status != NIB_OK) return status;
    m->n_stack -= n;
    if (n != 0) memcpy(p->items + p->n_items, m->stack + m->n_stack, n * sizeof *p->items);
    size_t at = p->n_items;
    p->n_items += n;
    return push(m, (nib__pickle_value){.type = NIB__PICKLE_TUPLE, .n = (uint32_t)n, .at = at});
}

/* ---- containers ---- */

static nib_status set_items(machine *m, size_t first)
{
    if (first == 0 || first <= m->floor) return underflow(m);
    nib__pickle_value dict = m->stack[first - 1];
    if (dict.type != NIB__PICKLE_DICT || (m->n_stack - first) % 2 != 0)
        return fail(m, NIB_ERR_FORMAT, "items set in something that is no dictionary");
    for (size_t i = first; i < m->n_stack; i += 2) {
        nib_status status = append(m, dict, m->stack[i], m->stack[i + 1]);
        if (status != NIB_OK) return status;
    }
    m->n_stack = first;
    return NIB_OK;
}

static nib_status append_items(machine *m, size_t first)
{
    if (first == 0 || first <= m->floor) return underflow(m);
    nib__pickle_value list = m->stack[first - 1];
    if (list.type != NIB__PICKLE_LIST)
        return fail(m, NIB_ERR_FORMAT, "items appended to something that is no list");
    for (size_t i = first; i < m->n_stack; i++) {
        nib_status status =
            append(m, list, (nib__pickle_value){.type = NIB__PICKLE_NONE}, m->stack[i]);
        if (status != NIB_OK) return status;
    }
    m->n_stack = first;
    return NIB_OK;
}

/* ---- text ---- */

/* n bytes that follow. */
static nib_status push_text(machine *m, uint64_t n)
{
    const uint8_t *text = nib__cursor_take(&m->c, n);
    if (text == NULL) return cut_off(m);
    return push(m, (nib__pickle_value){
                       .type = NIB__PICKLE_TEXT, .n = (uint32_t)n, .text = (const char *)text});
}

/* A line without its end. */
static bool take_line(machine *m, nib__pickle_value *line)
{
    size_t left = nib__cursor_left(&m->c), limit = left < MAX_LINE ? left : MAX_LINE;
    const uint8_t *text = m->c.base + m->c.at, *end = limit ? memchr(text, '\n', limit) : NULL;
    if (end == NULL) return false;
    *line = (nib__pickle_value){
        .type = NIB__PICKLE_TEXT, .n = (uint32_t)(end - text), .text = (const char *)text};
    m->c.at += line->n + 1;
    return true;
}

static bool text_is(const nib__pickle_value *v, const char *text)
{
    return v->type == NIB__PICKLE_TEXT && strlen(text) == v->n && memcmp(v->text, text, v->n) == 0;
}

/* ---- globals and what they make ---- */

static nib_status push_global(machine *m, const nib__pickle_value *module,
                              const nib__pickle_value *name)
{
    for (size_t i = 0; i < m->n_globals; i++) {
        if (!text_is(module, m->globals[i].module) || !text_is(name, m->globals[i].name)) continue;
        return push(m, (nib__pickle_value){.type = NIB__PICKLE_GLOBAL, .global = (uint8_t)i});
    }
    nib__shown a = nib__show(module->text, module->n < 60 ? module->n : 60);
    nib__shown b = nib__show(name->text, name->n < 60 ? name->n : 60);
    return fail(m, NIB_ERR_UNSUPPORTED, "the global %s.%s is not one that weights need", a.text,
                b.text);
}

static nib_status execute_global(machine *m, bool from_stack)
{
    nib__pickle_value module, name;
    if (from_stack) {
        if (!pop(m, &name) || !pop(m, &module)) return underflow(m);
        if (module.type != NIB__PICKLE_TEXT || name.type != NIB__PICKLE_TEXT)
            return fail(m, NIB_ERR_FORMAT, "a global whose name is no text");
    } else if (!take_line(m, &module) || !take_line(m, &name)) {
        return fail(m, NIB_ERR_FORMAT, "expected two lines with the name of a global");
    }
    return push_global(m, &module, &name);
}

/* A call is kept, not made. */
static nib_status execute_call(machine *m)
{
    nib__pickle_value arguments, callee;
    if (!pop(m, &arguments) || !pop(m, &callee)) return underflow(m);
    if (callee.type != NIB__PICKLE_GLOBAL || arguments.type != NIB__PICKLE_TUPLE)
        return fail(m, NIB_ERR_FORMAT, "a call of something that is no global");
    if (m->globals[callee.global].makes_dict) {
        if (arguments.n != 0)
            return fail(m, NIB_ERR_UNSUPPORTED, "a dictionary made with arguments");
        return push_object(m, NIB__PICKLE_DICT);
    }
    arguments.type = NIB__PICKLE_CALL;
    arguments.global = callee.global;
    return push(m, arguments);
}

static nib_status execute_persistent(machine *m)
{
    nib__pickle_value id;
    if (!pop(m, &id)) return underflow(m);
    if (id.type != NIB__PICKLE_TUPLE)
        return fail(m, NIB_ERR_FORMAT, "expected a tuple as persistent id");
    id.type = NIB__PICKLE_STORED;
    return push(m, id);
}

/* The state of an object: attributes of a dictionary (versions of modules), which say nothing about
 * weights. */
static nib_status execute_build(machine *m)
{
    nib__pickle_value state;
    if (!pop(m, &state) || m->n_stack <= m->floor) return underflow(m);
    if (m->stack[m->n_stack - 1].type != NIB__PICKLE_DICT)
        return fail(m, NIB_ERR_UNSUPPORTED, "a state of something that is no dictionary");
    return NIB_OK;
}

/* ---- memo ---- */

static nib_status memo_put(machine *m, uint64_t index)
{
    if (m->n_stack <= m->floor) return underflow(m);
    /* An index takes at least two bytes: one beyond that was chosen to make us allocate. */
    if (index >= m->c.size / 2 + 1)
        return fail(m, NIB_ERR_FORMAT, "the memo index %llu is beyond what this pickle can use",
                    (unsigned long long)index);
    void *memo = m->memo;
    nib_status status = reserve(m, &memo, &m->cap_memo, (size_t)index + 1, sizeof *m->memo);
    m->memo = memo;
    if (status != NIB_OK) return status;
    for (; m->n_memo <= index; m->n_memo++)
        m->memo[m->n_memo] = (nib__pickle_value){.type = NIB__PICKLE_UNSET};
    m->memo[index] = m->stack[m->n_stack - 1];
    return NIB_OK;
}

static nib_status memo_get(machine *m, uint64_t index)
{
    if (index < m->n_memo && m->memo[index].type != NIB__PICKLE_UNSET)
        return push(m, m->memo[index]);
    return fail(m, NIB_ERR_FORMAT, "nothing was put at memo index %llu", (unsigned long long)index);
}

/* ---- numbers ---- */

/* A long of n little-endian bytes, two's complement; more than 8 do not occur in weights. */
static nib_status push_long(machine *m, size_t n)
{
    const uint8_t *p = nib__cursor_take(&m->c, n);
    if (p == NULL) return cut_off(m);
    if (n > 8) return fail(m, NIB_ERR_UNSUPPORTED, "an integer of %zu bytes", n);
    uint64_t bits = n > 0 && (p[n - 1] & 0x80) != 0 ? UINT64_MAX : 0;
    for (size_t i = n; i-- > 0;) bits = bits << 8 | p[i];
    return push_integer(m, NIB__PICKLE_INT, (int64_t)bits);
}

/* ---- opcodes ---- */

static nib_status execute_text(machine *m, uint8_t opcode)
{
    nib__cursor *c = &m->c;
    switch (opcode) {
    case 'X':                                           /* BINUNICODE */
    case 'T':                                           /* BINSTRING */
    case 'B': return push_text(m, nib__cursor_u32(c));  /* BINBYTES */
    case 0x8c:                                          /* SHORT_BINUNICODE */
    case 'U':                                           /* SHORT_BINSTRING */
    case 'C': return push_text(m, nib__cursor_u8(c));   /* SHORT_BINBYTES */
    case 0x8d: return push_text(m, nib__cursor_u64(c)); /* BINUNICODE8 */
    case 'c': return execute_global(m, false);          /* GLOBAL */
    case 0x93: return execute_global(m, true);          /* STACK_GLOBAL */
    default: break;
    }
    return fail(m, NIB_ERR_UNSUPPORTED, "the opcode 0x%x is not one that weights need", opcode);
}

static nib_status execute_container(machine *m, uint8_t opcode)
{
    size_t first = m->n_stack;
    bool marked = opcode == 't' || opcode == 'u' || opcode == 'e';
    if (marked && !pop_mark(m, &first)) return fail(m, NIB_ERR_FORMAT, "a mark is missing");
    switch (opcode) {
    case '(': return push_mark(m);                                          /* MARK */
    case ')': return gather(m, 0);                                          /* EMPTY_TUPLE */
    case 't': return gather(m, m->n_stack - first);                         /* TUPLE */
    case 0x85:                                                              /* TUPLE1 */
    case 0x86:                                                              /* TUPLE2 */
    case 0x87: return gather(m, opcode - 0x84u);                            /* TUPLE3 */
    case ']': return push_object(m, NIB__PICKLE_LIST);                      /* EMPTY_LIST */
    case '}': return push_object(m, NIB__PICKLE_DICT);                      /* EMPTY_DICT */
    case 'u': return set_items(m, first);                                   /* SETITEMS */
    case 'e': return append_items(m, first);                                /* APPENDS */
    case 's': return first < 2 ? underflow(m) : set_items(m, first - 2);    /* SETITEM */
    case 'a': return first < 1 ? underflow(m) : append_items(m, first - 1); /* APPEND */
    case 'R':                                                               /* REDUCE */
    case 0x81: return execute_call(m);                                      /* NEWOBJ */
    case 'b': return execute_build(m);                                      /* BUILD */
    case 'Q': return execute_persistent(m);                                 /* BINPERSID */
    default: return execute_text(m, opcode);
    }
}

static nib_status execute(machine *m, uint8_t opcode)
{
    nib__cursor *c = &m->c;
    const uint8_t *p;
    switch (opcode) {
    case 0x80: /* PROTO */
        if (m->at != 0 || nib__cursor_u8(c) > 5)
            return fail(m, NIB_ERR_UNSUPPORTED, "expected a pickle of protocol 2 to 5");
        return NIB_OK;
    case 0x95: (void)nib__cursor_u64(c); return NIB_OK;     /* FRAME: its length is for streams */
    case 'N': return push_integer(m, NIB__PICKLE_NONE, 0);  /* NONE */
    case 0x88: return push_integer(m, NIB__PICKLE_BOOL, 1); /* NEWTRUE */
    case 0x89: return push_integer(m, NIB__PICKLE_BOOL, 0); /* NEWFALSE */
    case 'J': return push_integer(m, NIB__PICKLE_INT, (int32_t)nib__cursor_u32(c)); /* BININT */
    case 'K': return push_integer(m, NIB__PICKLE_INT, nib__cursor_u8(c));           /* BININT1 */
    case 'M':                                                                       /* BININT2 */
        p = nib__cursor_take(c, 2);
        return p == NULL ? cut_off(m) : push_integer(m, NIB__PICKLE_INT, nib__le16(p));
    case 0x8a: return push_long(m, nib__cursor_u8(c)); /* LONG1 */
    case 'G': /* BINFLOAT */ (void)nib__cursor_u64(c); return push_integer(m, NIB__PICKLE_FLOAT, 0);
    case 'q': return memo_put(m, nib__cursor_u8(c));  /* BINPUT */
    case 'r': return memo_put(m, nib__cursor_u32(c)); /* LONG_BINPUT */
    case 0x94: return memo_put(m, m->n_memo);         /* MEMOIZE */
    case 'h': return memo_get(m, nib__cursor_u8(c));  /* BINGET */
    case 'j': return memo_get(m, nib__cursor_u32(c)); /* LONG_BINGET */
    default: return execute_container(m, opcode);
    }
}

static nib_status run(machine *m)
{
    for (;;) {
        m->at = m->c.at;
        uint8_t opcode = nib__cursor_u8(&m->c);
        if (m->c.failed) return cut_off(m);
        if (m->at == 0 && opcode != 0x80)
            return fail(m, NIB_ERR_UNSUPPORTED, "expected a pickle of protocol 2 to 5");
        if (opcode == '.') break; /* STOP */
        nib_status status = execute(m, opcode);
        if (status != NIB_OK) return status;
        if (m->c.failed) return cut_off(m);
    }
    if (m->n_marks != 0 || m->n_stack != 1)
        return fail(m, NIB_ERR_FORMAT, "expected one value at the end, got %zu", m->n_stack);
    m->out->root = m->stack[0];
    return NIB_OK;
}

nib_status nib__pickle_read(const nib_allocator *mem, const nib__shard *shard, const char *what,
                            const uint8_t *data, size_t size, const nib__pickle_global *globals,
                            size_t n_globals, nib__pickle *pickle, nib_error *err)
{
    machine m = {.out = pickle,
                 .shard = shard,
                 .what = what,
                 .c = {data, size, 0, false},
                 .globals = globals,
                 .n_globals = n_globals,
                 .err = err};
    *pickle = (nib__pickle){.mem = *mem};
    if (size > NIB__PICKLE_MAX_SIZE) {
        return fail(&m, NIB_ERR_LIMIT, "expected at most %d bytes, got %zu", NIB__PICKLE_MAX_SIZE,
                    size);
    }
    nib_status status = run(&m);
    nib__free(mem, m.stack);
    nib__free(mem, m.memo);
    nib__free(mem, m.marks);
    return status;
}

void nib__pickle_free(nib__pickle *p)
{
    nib__free(&p->mem, p->items);
    nib__free(&p->mem, p->nodes);
    nib__free(&p->mem, p->objects);
    p->items = NULL;
    p->nodes = NULL;
    p->objects = NULL;
}

/* ---- access ---- */

const nib__pickle_value *nib__pickle_item(const nib__pickle *p, const nib__pickle_value *v,
                                          size_t i)
{
    bool has = v->type == NIB__PICKLE_TUPLE || v->type == NIB__PICKLE_CALL ||
               v->type == NIB__PICKLE_STORED;
    return has && i < v->n ? &p->items[v->at + i] : NULL;
}

const nib__pickle_node *nib__pickle_first(const nib__pickle *p, const nib__pickle_value *v)
{
    if (v->type != NIB__PICKLE_DICT && v->type != NIB__PICKLE_LIST) return NULL;
    uint32_t first = p->objects[v->at].first;
    return first != 0 ? &p->nodes[first - 1] : NULL;
}

const nib__pickle_node *nib__pickle_next(const nib__pickle *p, const nib__pickle_node *node)
{
    return node->next != 0 ? &p->nodes[node->next - 1] : NULL;
}
