package dev.millrace.models.arch;

import dev.millrace.core.MillraceException;
import dev.millrace.models.checkpoint.Checkpoint;
import dev.millrace.models.checkpoint.GgufCheckpoint;
import dev.millrace.models.checkpoint.HuggingFaceCheckpoint;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.BiFunction;
import java.util.stream.Collectors;

/** The architectures there are, and how a checkpoint becomes a graph. */
public final class Architectures {
    /** How a {@code model_type} is read, and the classes of Hugging Face whose checkpoints it takes. */
    private record Family(BiFunction<String, Settings, Blueprint> reader, Set<String> classes) {}

    private static final Set<String> BERT_HEADS = Set.of(
            "Model", "ForMaskedLM", "ForPreTraining", "ForNextSentencePrediction", "ForSequenceClassification");

    private static final Map<String, Family> FAMILIES = new TreeMap<>(Map.of(
            "gpt2", new Family(Gpt2::read, Set.of("GPT2LMHeadModel", "GPT2Model", "GPT2DoubleHeadsModel")),
            "llama", decoder("Llama"),
            "mistral", decoder("Mistral"),
            "qwen2", decoder("Qwen2"),
            "qwen3", decoder("Qwen3"),
            "bert", encoder("Bert"),
            "roberta", encoder("Roberta"),
            "xlm-roberta", encoder("XLMRoberta"),
            "distilbert", encoder("DistilBert")));

    private static Family decoder(String name) {
        return new Family(Llama::read, Set.of(name + "ForCausalLM", name + "Model"));
    }

    private static Family encoder(String name) {
        return new Family(Bert::read, BERT_HEADS.stream().map(name::concat).collect(Collectors.toSet()));
    }

    private Architectures() {}

    /** The names of all architectures, as {@code config.json} says them in {@code model_type}. */
    public static Set<String> names() {
        return FAMILIES.keySet();
    }

    /**
     * The graph of a checkpoint.
     *
     * @throws MillraceException when its architecture or a switch of its configuration is not supported, or tensors are
     *     missing or of the wrong shape; the message names them
     */
    public static ModelGraph build(Checkpoint checkpoint) {
        String name = String.valueOf(checkpoint.path().getFileName());
        return switch (checkpoint) {
            case HuggingFaceCheckpoint folder -> {
                HuggingFace source = new HuggingFace(folder);
                yield build(name, source.settings(), source);
            }
            case GgufCheckpoint file -> {
                Gguf source = new Gguf(file);
                yield build(name, source.settings(), source);
            }
        };
    }

    /** Reads the configuration, names the tensors and builds the graph. */
    static ModelGraph build(String name, Settings settings, TensorSource source) {
        Blueprint blueprint = read(settings);
        Binder binder = new Binder(source);
        blueprint.bind(binder);
        Blocks blocks = new Blocks(name, binder.weights(), binder.orders());
        blueprint.build(blocks);
        return new ModelGraph(blueprint.config(), blocks.build(), binder.weights(), binder.unused());
    }

    static Blueprint read(Settings settings) {
        String type = settings.text("model_type", null);
        if (type == null) {
            throw new MillraceException(settings.file() + ": model_type is missing; known are: " + list());
        }
        Family family = FAMILIES.get(type);
        if (family == null) {
            throw new MillraceException(
                    settings.file() + ": architecture " + Settings.line(type) + " is not supported; known are: " + list());
        }
        List<String> classes = settings.texts("architectures");
        for (String found : classes) {
            if (!family.classes().contains(found)) {
                throw new MillraceException(settings.file() + ": a checkpoint of " + Settings.line(found) + " is not supported; of " + type
                        + " there are: " + String.join(", ", family.classes().stream().sorted().toList()));
            }
        }
        settings.refuse("is_encoder_decoder", "there is no encoder to attend to");
        Blueprint blueprint = family.reader().apply(type, settings);
        settings.finish(type);
        return blueprint;
    }

    private static String list() {
        return String.join(", ", FAMILIES.keySet());
    }
}
