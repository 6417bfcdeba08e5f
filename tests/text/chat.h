// tests/text/chat.h: conversations made message by message, as requests bring them whole.
#ifndef TEST_TEXT_CHAT_H
#define TEST_TEXT_CHAT_H

#include "text/text.h"

static inline void chat_add(ChatMessages *m, Str role, Str content) { // bytes must outlive m
    JVal v = jval_dict(m->arena);
    jval_dict_put(m->arena, v, S("role"), jval_str(role));
    jval_dict_put(m->arena, v, S("content"), jval_str(content));
    if (m->list.type != J_LIST) m->list = jval_list(m->arena);
    jval_list_add(m->arena, m->list, v);
}

#endif
