package dev.millrace.models.arch;

import java.util.List;

/**
 * What a model is, whichever file said so; what only its own graph needs stays with its architecture.
 *
 * @param family the architecture's name: gpt2, llama, mistral, qwen2, qwen3, bert, roberta, distilbert, ...
 * @param vocab tokens it knows; ids are below it
 * @param hidden width of the residual stream
 * @param inner width between the linear layers of an MLP
 * @param layers transformer blocks
 * @param heads query heads of a layer
 * @param kvHeads key and value heads of a layer
 * @param headDim elements of a head
 * @param maxPositions tokens of a sequence it was made for
 * @param bos ids that may open a text, mostly one; empty where the files name none
 * @param eos ids that end a text
 * @param encoder whether every token sees the whole text: such a model embeds and does not generate
 * @param tied whether the head is the token embedding
 * @param labels outputs of its classifier; 0 where it has none
 */
public record ModelConfig(
        String family,
        int vocab,
        int hidden,
        int inner,
        int layers,
        int heads,
        int kvHeads,
        int headDim,
        int maxPositions,
        List<Integer> bos,
        List<Integer> eos,
        boolean encoder,
        boolean tied,
        int labels) {
    public ModelConfig {
        bos = List.copyOf(bos);
        eos = List.copyOf(eos);
    }
}
