#!/usr/bin/env python3
"""Trains a small SentencePiece BPE vocabulary on the templates' and this script's text, and writes it as a GGUF file would
hold it, with the ids that SentencePiece itself gives to some texts.

    python3 models/src/test/python/sentencepiece_goldens.py

needs sentencepiece (0.2.2 wrote the committed file) and overwrites sentencepiece-golden.json in the test resources.
"""
import io
import json
import pathlib
import random

import sentencepiece

SOURCES = pathlib.Path(__file__).resolve().parents[2]
TEXTS = [
    "Hello world", " leading space", "two  spaces", "", " ", "   ", "a", "ab", "the theatre of the thermal", "naïve café",
    "日本語とemoji 🙂👩‍👩‍👧 end", "tabs\tand\nnewlines\r\n", "1234567890 3.14", "ZZZ qqq xx", "\u2581 itself", "<0x41> <s> </s>",
    "MiXeD CaSe WoRdS", "punctuation!?... (yes) [no] {maybe}", "unseen: ЖЩЪ 한국어 العربية", "the" * 40, "\u00a0nbsp", "e\u0301",
]


def main():
    corpus = pathlib.Path(__file__).read_text(encoding="utf-8").split("\n")
    for path in sorted(SOURCES.rglob("*.py")) + sorted(SOURCES.glob("main/java/dev/millrace/models/tokenizer/*.java")):
        corpus += path.read_text(encoding="utf-8").split("\n")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus),
        model_writer=model,
        model_type="bpe",
        vocab_size=1200,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        user_defined_symbols=["<|user|>"],
        character_coverage=0.995,
        minloglevel=2,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    n = sp.get_piece_size()
    rng = random.Random(7)
    pieces = [sp.id_to_piece(i) for i in range(n)]
    plain = [p for i, p in enumerate(pieces) if not sp.is_byte(i) and not sp.is_control(i) and not sp.is_unknown(i)]
    texts = TEXTS + ["".join(rng.choice(plain).replace("\u2581", " ") for _ in range(12)) for _ in range(60)]
    # Text that spells a control, byte or user-defined token is cut out before the model sees it: not SentencePiece's affair.
    texts = [t for t in texts if "<|user|>" not in t and "<0x" not in t and "<s>" not in t and "</s>" not in t and "<unk>" not in t]

    def kind(i):
        if sp.is_unknown(i):
            return 2
        if sp.is_control(i):
            return 3
        if sp.is_byte(i):
            return 6
        return 4 if pieces[i] == "<|user|>" else 1

    golden = {
        "tokens": pieces,
        "scores": [sp.get_score(i) for i in range(n)],
        "token_type": [kind(i) for i in range(n)],
        "texts": [{"text": t, "ids": sp.encode(t), "decoded": sp.decode(sp.encode(t))} for t in texts],
    }
    target = SOURCES / "test/resources/dev/millrace/models/tokenizer/sentencepiece-golden.json"
    target.write_text(json.dumps(golden, ensure_ascii=False) + "\n", encoding="utf-8")
    print(n, "pieces,", len(texts), "texts")


if __name__ == "__main__":
    main()
