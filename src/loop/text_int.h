// loop/text_int.h: what the files about loop IR's text share.
#ifndef HOB_LOOP_TEXT_INT_H
#define HOB_LOOP_TEXT_INT_H

#include "loop/loop.h"

enum { KERNEL_MAX_DEPTH = 64, KERNEL_MAX_STMTS = 65536 };

extern const char *const type_text[TY_COUNT]; // i32, u32, f32, bool
bool loop_word_reserved(Str word);            // no variable or buffer has such a name

// The statement's first line, with the names that its variables carry: for messages.
void stmt_print_head(const Stmt *s, Buf *out);

#endif
