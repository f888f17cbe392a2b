package dev.millrace.models;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.pass.Fusion;
import dev.millrace.core.tensor.Weights;
import dev.millrace.models.generate.Generator;
import dev.millrace.quant.WeightPlan;
import java.util.List;

/**
 * A model compiled for a device.
 *
 * <pre>{@code
 * try (Model model = Model.embedded();
 *         Executor executor = Executors.best().open();
 *         Engine engine = Engine.open(model, executor)) {
 *     Generation story = engine.generate("Once upon a time", GenerateOptions.standard(), piece -> {
 *         System.out.print(piece);
 *         return true;
 *     });
 * }
 * }</pre>
 *
 * <p>One call runs at a time. Model and executor belong to the caller and must stay open while the engine is.
 */
public final class Engine implements AutoCloseable {
    private final Model model;
    private final EngineOptions options;
    private final Program program;
    private final WeightPlan.Plan plan;

    private Engine(Model model, EngineOptions options, Program program, WeightPlan.Plan plan) {
        this.model = model;
        this.options = options;
        this.program = program;
        this.plan = plan;
    }

    /** Opens with the checkpoint's own weight format. */
    public static Engine open(Model model, Executor executor) {
        return open(model, executor, EngineOptions.DEFAULT);
    }

    /**
     * Converts the weights where asked or needed, fuses the graph as far as the executor supports it, and compiles.
     *
     * @throws MillraceException when the executor cannot run an op (with its path) or memory does not suffice
     */
    public static Engine open(Model model, Executor executor, EngineOptions options) {
        WeightPlan.Plan plan = WeightPlan.plan(model.graph(), model.weights(), options.weights(), executor.formats());
        Graph graph = options.fuse()
                ? Fusion.apply(model.graph(), plan.weights(), executor::supports)
                : model.graph();
        EngineOptions settled =
                options.kv() == null ? options.withKv(executor.preferredKv(graph, plan.weights())) : options;
        return new Engine(model, settled, executor.compile(graph, plan.weights(), options.compile()), plan);
    }

    /**
     * Continues {@code prompt}.
     *
     * @param sink receives the text while it comes
     * @throws MillraceException when the model has no tokenizer, the prompt is empty or leaves no room in the context
     */
    public Generation generate(String prompt, GenerateOptions options, GenerationSink sink) {
        return generate(model.tokenizer().encode(prompt, true), options, sink);
    }

    /** Continues the tokens of a prompt. */
    public Generation generate(int[] prompt, GenerateOptions options, GenerationSink sink) {
        return new Generator(model, program, this.options.kv()).run(prompt, options, sink);
    }

    /**
     * Continues the tokens of a prompt in a session of {@link #newSession}, and leaves them and the new ones there: what the
     * next prompt has in common with them is not computed again.
     */
    public Generation generate(Session session, int[] prompt, GenerateOptions options, GenerationSink sink) {
        return new Generator(model, program, this.options.kv()).run(session, prompt, options, sink);
    }

    /** A sequence of its own; the caller closes it. */
    public Session newSession(int capacity) {
        return program.newSession(capacity, options.kv());
    }

    public Model model() {
        return model;
    }

    /** What it was opened with; what was left to the executor is settled. */
    public EngineOptions options() {
        return options;
    }

    /** What runs: its graph is the fused one. */
    public Program program() {
        return program;
    }

    /** The weights as they were given to the executor. */
    public Weights weights() {
        return plan.weights();
    }

    /** Why weights are not as stored or not as asked for, a line for each reason; empty where there is nothing to say. */
    public List<String> notes() {
        return plan.notes();
    }

    @Override
    public void close() {
        program.close();
    }
}
