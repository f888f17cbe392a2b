package dev.millrace.models;

import dev.millrace.core.MillraceException;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.tensor.Weights;
import dev.millrace.models.arch.Architectures;
import dev.millrace.models.arch.ModelConfig;
import dev.millrace.models.arch.ModelGraph;
import dev.millrace.models.arch.Synthetic;
import dev.millrace.models.checkpoint.Checkpoint;
import dev.millrace.models.tokenizer.Tokenizer;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * A model that was opened: its configuration, its graph, its weights and its tokenizer. Weights are mapped, not read, until
 * an executor asks for them; so the model must stay open as long as an engine runs it.
 */
public final class Model implements AutoCloseable {
    /** The name of the model that comes with Millrace. */
    public static final String EMBEDDED = EmbeddedModel.NAME;

    /** What the names of models with random weights begin with. */
    public static final String SYNTHETIC = Synthetic.PREFIX;

    private final String name;
    private final ModelGraph parts;
    private final Optional<Checkpoint> checkpoint;
    private final LazyTokenizer tokenizer;

    private Model(String name, ModelGraph parts, Optional<Checkpoint> checkpoint, LazyTokenizer tokenizer) {
        this.name = name;
        this.parts = parts;
        this.checkpoint = checkpoint;
        this.tokenizer = tokenizer;
    }

    /**
     * Opens a checkpoint: a directory with config.json and safetensors files, a .safetensors file beside its config.json,
     * or a .gguf file.
     *
     * @throws MillraceException naming the file and the field when something is missing, damaged or not supported
     */
    public static Model load(Path path) {
        Path last = path.toAbsolutePath().normalize().getFileName();
        return load(path, last == null ? path.toString() : last.toString(), false);
    }

    /** Opens the model that comes with Millrace, {@value #EMBEDDED}; nothing is downloaded. */
    public static Model embedded() {
        return load(EmbeddedModel.directory(), EMBEDDED, true);
    }

    /**
     * Makes a model of a known shape with random weights, from a fixed seed, for measuring.
     *
     * @param shape such as {@code gpt2} or {@code llama-3.2-1b}
     * @throws MillraceException when there is no such shape; the message lists those there are
     */
    public static Model synthetic(String shape) {
        return new Model(SYNTHETIC + shape, Synthetic.build(shape), Optional.empty(), LazyTokenizer.none());
    }

    /** Opens what the command line calls a model: a path, or {@code synthetic:NAME}. */
    public static Model open(String model) {
        return model.startsWith(SYNTHETIC) ? synthetic(model.substring(SYNTHETIC.length())) : load(Path.of(model));
    }

    private static Model load(Path path, String name, boolean bundled) {
        Checkpoint checkpoint = Checkpoint.open(path);
        try {
            return new Model(
                    name,
                    Architectures.build(checkpoint),
                    Optional.of(checkpoint),
                    LazyTokenizer.of(checkpoint, bundled));
        } catch (RuntimeException | Error e) {
            checkpoint.close();
            throw e;
        }
    }

    /** What it is called in messages and reports. */
    public String name() {
        return name;
    }

    public ModelConfig config() {
        return parts.config();
    }

    /** The graph as its architecture defines it, nothing fused. */
    public Graph graph() {
        return parts.graph();
    }

    /** The weights of {@link #graph}, in the checkpoint's formats. */
    public Weights weights() {
        return parts.weights();
    }

    /** What the graph was built from, with the tensors it does not read. */
    public ModelGraph parts() {
        return parts;
    }

    /** The files; empty for synthetic models. */
    public Optional<Checkpoint> checkpoint() {
        return checkpoint;
    }

    /** Most tokens of a sequence, the new ones included. */
    public int contextLength() {
        return config().maxPositions();
    }

    public boolean isEndOfSequence(int token) {
        return config().eos().contains(token);
    }

    /** The token that opens a text; empty where the model names none. */
    public OptionalInt beginOfSequence() {
        return config().bos().stream().mapToInt(Integer::intValue).findFirst();
    }

    public boolean hasTokenizer() {
        return tokenizer.exists();
    }

    /**
     * The tokenizer, opened on first use.
     *
     * @throws MillraceException when the model has none, or it is damaged
     */
    public Tokenizer tokenizer() {
        if (!hasTokenizer()) {
            throw new MillraceException(name + " has no tokenizer; give token ids with --ids instead of text");
        }
        return tokenizer.get();
    }

    /** Starts opening the tokenizer on another thread, for those who will need it soon. */
    public void prepareTokenizer() {
        tokenizer.prepare();
    }

    /**
     * The ids themselves, if the model can process them as one sequence.
     *
     * @throws MillraceException when there is none, one is outside the vocabulary, or they are more than the context
     */
    public int[] checked(int[] ids) {
        if (ids.length == 0) {
            throw new MillraceException("the input has no tokens; give at least one");
        }
        for (int i = 0; i < ids.length; i++) {
            if (ids[i] < 0 || ids[i] >= config().vocab()) {
                throw new MillraceException("token id " + ids[i] + " (number " + (i + 1) + " of the input) is outside " + name
                        + "'s vocabulary of 0 to " + (config().vocab() - 1));
            }
        }
        if (ids.length > contextLength()) {
            throw new MillraceException("the input has " + ids.length + " tokens, more than " + name + "'s context of "
                    + contextLength() + "; shorten it");
        }
        return ids;
    }

    /** @throws MillraceException when it is an encoder; {@code what} needs a model that predicts the next token */
    public void requireDecoder(String what) {
        if (config().encoder()) {
            throw new MillraceException(what + " needs a model that predicts the next token, and " + name
                    + " (" + config().family() + ") is an encoder; use: millrace embed");
        }
    }

    /** @throws MillraceException when it is no encoder */
    public void requireEncoder(String what) {
        if (!config().encoder()) {
            throw new MillraceException(what + " needs an encoder such as BERT, and " + name + " (" + config().family()
                    + ") predicts the next token; use: millrace logits");
        }
    }

    @Override
    public void close() {
        tokenizer.close();
        checkpoint.ifPresent(Checkpoint::close);
    }
}
