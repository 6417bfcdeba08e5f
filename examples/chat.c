/* chat.c: a conversation with a model, in C.
 *
 *     cc chat.c -lhob -o chat && ./chat model.gguf
 */
#include <hob.h>

#include <stdio.h>
#include <string.h>

/* Adds a message to the list that the next request holds; the text goes in as a JSON string. */
static size_t add(char *list, size_t n, size_t size, const char *role, const char *text) {
    if (size - n < 64) return size; /* full */
    n += (size_t)snprintf(list + n, size - n, "%s{\"role\":\"%s\",\"content\":\"", n ? "," : "",
                          role);
    for (; *text && n + 16 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 32)
            n += (size_t)snprintf(list + n, size - n, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            n += (size_t)snprintf(list + n, size - n, "\\%c", c);
        else
            list[n++] = (char)c;
    }
    return n + (size_t)snprintf(list + n, size - n, "\"}");
}

int main(int argc, char **argv) {
    static char list[1 << 16], request[sizeof list + 64], answer[1 << 14], line[1 << 12];
    size_t n = 0;
    hob_error err = {0};
    hob_model *m = argc > 1 ? hob_open(&(hob_open_desc){.path = argv[1]}, &err) : NULL;
    hob_session *s = m ? hob_session_new(m, &err) : NULL;
    if (!s) {
        fprintf(stderr, "%s\n", argc > 1 ? err.message : "usage: chat MODEL.gguf");
        hob_close(m);
        return 1;
    }
    while (printf("> "), fflush(stdout), fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        n = add(list, n, sizeof list, "user", line);
        snprintf(request, sizeof request,
                 "{\"messages\":[%s],\"max_tokens\":200,\"temperature\":0}", list);
        if (n > sizeof list - sizeof answer || hob_chat(s, request, &err) != 0)
            break; /* the conversation is full, or the request was refused */
        answer[0] = 0;
        for (hob_event ev; hob_next(s, &ev);) {
            fwrite(ev.text, 1, ev.text_len, stdout);
            fflush(stdout);
            if (strlen(answer) + ev.text_len < sizeof answer) strncat(answer, ev.text, ev.text_len);
        }
        printf("\n");
        n = add(list, n, sizeof list, "assistant", answer);
    }
    hob_session_free(s);
    hob_close(m);
    fprintf(stderr, "%s\n", err.message);
    return err.id != 0;
}
