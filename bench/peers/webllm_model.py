"""Random weights in the form that a WebLLM model library asks for: python webllm_model.py LIB.wasm FOLDER

The library carries the list of its parameters as JSON; names, shapes and types come from there. The weights mean
nothing, so the text does not either: speed and counts do. A token is a byte.
"""
import json
import os
import sys

import numpy as np

SHARD = 32 << 20


def metadata(lib):
    with open(lib, "rb") as f:
        raw = f.read()
    text = raw[raw.index(b'{"model_type"'):][:1 << 20].decode("utf-8", "replace")
    return json.JSONDecoder().raw_decode(text)[0]


def values(rng, name, shape, dtype):
    if dtype == "uint32":
        return rng.integers(0, 1 << 32, shape, dtype=np.uint32)
    if dtype != "float32":
        raise SystemExit("%s is %s: only q4f32_1 libraries are understood" % (name, dtype))
    if name.endswith("q_scale"):  # rows of the quantised matrix then have about unit length
        return (0.2 / np.sqrt(32 * shape[1]) * rng.uniform(0.8, 1.2, shape)).astype(np.float32)
    return (np.zeros if name.endswith("bias") else np.ones)(shape, np.float32)


def byte_letters():
    """GPT-2's letters for the 256 bytes: printable ones stand for themselves."""
    own = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b]
    rest = [b for b in range(256) if b not in own]
    return {**{b: chr(b) for b in own}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def tokenizer(size):
    vocab = {letter: i for i, letter in enumerate(byte_letters().values())}
    vocab.update({"Ġt%d" % i: i for i in range(len(vocab), size)})
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": []}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": level, "post_processor": None, "decoder": level, "model": model}


def main(lib, folder):
    meta = metadata(lib)
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(1)
    shards, records, data, total = [], [], b"", 0

    def flush():
        nonlocal records, data
        name = "params_shard_%d.bin" % len(shards)
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
        shards.append({"dataPath": name, "format": "raw-shard", "nbytes": len(data), "records": records})
        records, data = [], b""

    for p in meta["params"]:
        more = values(rng, p["name"], p["shape"], p["dtype"]).tobytes()
        if records and len(data) + len(more) > SHARD:
            flush()
        records.append({"name": p["name"], "shape": p["shape"], "dtype": p["dtype"], "format": "raw", "nbytes": len(more),
                        "byteOffset": len(data)})
        data += more
        total += len(more)
    flush()
    size = next(p["shape"][0] for p in meta["params"] if "embed_tokens.q_weight" in p["name"])
    last = size - 1
    template = {"name": "plain", "system_template": "{system_message}", "system_message": "", "system_prefix_token_ids": None,
                "add_role_after_system_message": True, "roles": {r: r for r in ("user", "assistant", "tool")},
                "role_templates": {r: "{%s_message}" % r for r in ("user", "assistant", "tool")}, "messages": [], "seps": ["\n"],
                "role_content_sep": "\n", "role_empty_sep": "\n", "stop_str": [], "stop_token_ids": [last],
                "function_string": "", "use_function_calling": False}
    config = {"version": "0.1.0", "model_type": meta["model_type"], "quantization": meta["quantization"], "model_config": {},
              "vocab_size": size, "context_window_size": meta["context_window_size"], "sliding_window_size": -1,
              "prefill_chunk_size": meta["prefill_chunk_size"], "attention_sink_size": -1, "tensor_parallel_shards": 1,
              "mean_gen_len": 128, "max_gen_len": 512, "shift_fill_factor": 0.3, "temperature": 1.0, "presence_penalty": 0.0,
              "frequency_penalty": 0.0, "repetition_penalty": 1.0, "top_p": 1.0, "tokenizer_files": ["tokenizer.json"],
              "tokenizer_info": {"token_postproc_method": "byte_level", "prepend_space_in_encode": False,
                                 "strip_space_in_decode": False},
              "conv_template": template, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": last}
    for name, what in (("ndarray-cache.json", {"metadata": {"ParamSize": len(meta["params"]), "ParamBytes": total}, "records": shards}),
                       ("tokenizer.json", tokenizer(size)), ("mlc-chat-config.json", config)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(what, f)


main(*sys.argv[1:3])
