package dev.millrace.models.arch;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.models.checkpoint.HuggingFaceCheckpoint;
import dev.millrace.models.checkpoint.Json;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/** A directory of Hugging Face's as architectures read it. */
final class HuggingFace implements TensorSource {
    private final HuggingFaceCheckpoint checkpoint;

    HuggingFace(HuggingFaceCheckpoint checkpoint) {
        this.checkpoint = checkpoint;
    }

    /** config.json, with what generation_config.json and sentence-transformers' files add. */
    Settings settings() {
        ObjectNode config = ((ObjectNode) checkpoint.config()).deepCopy();
        checkpoint.json("generation_config.json").ifPresent(generation -> {
            for (String key : List.of("bos_token_id", "eos_token_id")) {
                if (generation.hasNonNull(key)) {
                    config.set(key, generation.get(key));
                }
            }
        });
        checkpoint.json("1_Pooling/config.json").ifPresent(pooling -> config.set(Bert.SENTENCE, pooling(pooling, config)));
        Settings settings = new Settings(checkpoint.directory().resolve("config.json").toString(), config);
        if (checkpoint.gptq().isPresent()) {
            settings.ignore("quantization_config");
        }
        // a decoder's states can be pooled, but no command does it
        settings.ignore(Bert.SENTENCE);
        return settings;
    }

    private ObjectNode pooling(JsonNode file, ObjectNode config) {
        String said = null;
        for (var entry : file.properties()) {
            String key = entry.getKey();
            if (key.startsWith("pooling_mode_") && entry.getValue().isBoolean() && entry.getValue().booleanValue()) {
                said = said == null ? key : said + " and " + key;
            }
        }
        String mode =
                switch (said) {
                    case "pooling_mode_cls_token" -> "cls";
                    case "pooling_mode_mean_tokens" -> "mean";
                    case "pooling_mode_max_tokens" -> "max";
                    case null, default -> throw new MillraceException(checkpoint.directory().resolve("1_Pooling/config.json")
                            + ": " + (said == null ? "no pooling mode is on" : said + " is not supported")
                            + "; cls_token, mean_tokens and max_tokens are, one at a time");
                };
        return config.objectNode().put("pooling", mode).put("normalize", normalizes());
    }

    /** Whether sentence-transformers' list of modules has a normalization; one that is not run here is refused. */
    private boolean normalizes() {
        Path file = checkpoint.directory().resolve("modules.json");
        boolean normalize = false;
        for (JsonNode module : Files.exists(file) ? Json.readList(file) : List.<JsonNode>of()) {
            String type = module.path("type").asString("");
            switch (type.substring(type.lastIndexOf('.') + 1)) {
                case "Transformer", "Pooling" -> {}
                case "Normalize" -> normalize = true;
                default -> throw new MillraceException(
                        file + ": module " + module.path("type") + " is not supported; Transformer, Pooling and Normalize are");
            }
        }
        return normalize;
    }

    @Override
    public String origin() {
        return checkpoint.path().toString();
    }

    @Override
    public Collection<String> names() {
        return checkpoint.names();
    }

    @Override
    public Weight get(String name, Shape shape) {
        return checkpoint.weight(name);
    }

    @Override
    public boolean conv1d() {
        return true;
    }

    @Override
    public Optional<Ordered> quantized(String layer) {
        return checkpoint.gptq(layer).map(gptq -> {
            List<String> tensors = Stream.of(".qweight", ".qzeros", ".scales", ".g_idx")
                    .map(layer::concat)
                    .filter(checkpoint::has)
                    .toList();
            Weight weight = gptq.blocks().isEmpty() ? gptq.exact() : ExactBlocks.of(gptq);
            return new Ordered(weight, gptq.order(), tensors);
        });
    }
}
