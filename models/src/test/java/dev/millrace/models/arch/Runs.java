package dev.millrace.models.arch;

import dev.millrace.core.executor.Batch;
import dev.millrace.core.executor.Batch.Rows;
import dev.millrace.core.executor.Batch.Slice;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.executor.KvFormat;
import dev.millrace.core.executor.Program;
import dev.millrace.core.executor.Session;
import dev.millrace.core.graph.Graph;
import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Op;
import dev.millrace.core.graph.Value;
import dev.millrace.core.graph.pass.Fusion;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.core.tensor.Weights;
import dev.millrace.models.checkpoint.Checkpoint;
import dev.millrace.quant.Views;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** A checkpoint opened, built and compiled for one executor. */
final class Runs implements AutoCloseable {
    /** The executors that every build has, and those that run here besides. */
    static final List<String> EXECUTORS = executors();

    private static List<String> executors() {
        Set<String> names = new LinkedHashSet<>(List.of("reference", "cpu-simd"));
        Executors.discover().stream().filter(Executors.Found::available).forEach(found -> names.add(found.name()));
        return List.copyOf(names);
    }

    private final Checkpoint checkpoint;
    private final Executor executor;
    final ModelGraph model;
    final Program program;

    private Runs(Checkpoint checkpoint, Executor executor, ModelGraph model, Program program) {
        this.checkpoint = checkpoint;
        this.executor = executor;
        this.model = model;
        this.program = program;
    }

    /** @param linear the format of linear layers' weights; null for the checkpoint's own */
    static Runs open(Path path, String executorName, WeightFormat linear) {
        Checkpoint checkpoint = Checkpoint.open(path);
        ModelGraph model = Architectures.build(checkpoint);
        Executor executor = Executors.named(executorName).provider().open(0, ExecutorOptions.DEFAULT);
        Weights weights = converted(model, linear, executor.formats());
        Graph graph = Fusion.apply(model.graph(), weights, executor::supports);
        return new Runs(checkpoint, executor, model, executor.compile(graph, weights, new CompileOptions(512)));
    }

    static Runs open(String golden, String executor) {
        return open(Golden.folder(golden), executor, WeightFormat.F32);
    }

    /** Linear weights in the format asked for; their own where null, or int8 where the executor does not read that. */
    private static Weights converted(ModelGraph model, WeightFormat format, Set<WeightFormat> readable) {
        Set<String> linear = new TreeSet<>();
        for (Node node : model.graph().nodes()) {
            if (node.op() instanceof Op.Linear l) {
                linear.add(l.weight());
            }
        }
        return model.weights().map((name, weight) -> {
            if (!linear.contains(name)) {
                return weight;
            }
            WeightFormat own = readable.contains(weight.format()) ? weight.format() : WeightFormat.Q8_0;
            return Views.converted(weight, format == null ? own : format);
        });
    }

    Session session(int capacity) {
        return program.newSession(capacity, KvFormat.F32);
    }

    /** All rows of an output, of one sequence that is given at once. */
    float[] rows(String output, int[] tokens, int[] types) {
        try (Session session = session(tokens.length)) {
            Value value = program.graph().output(output);
            int rows = value.rows() == Value.Rows.SEQUENCES ? 1 : tokens.length;
            MemorySegment target = Golden.floats(rows * value.width());
            program.forward(new Batch(List.of(new Slice(session, tokens, types, Rows.ALL)), output), target);
            return Golden.array(target);
        }
    }

    /** The same, {@code chunk} tokens at a time. */
    float[] rowsInChunks(int[] tokens, int chunk) {
        int width = program.graph().output(Graph.LOGITS).width();
        float[] all = new float[tokens.length * width];
        try (Session session = session(tokens.length)) {
            for (int from = 0; from < tokens.length; from += chunk) {
                int[] some = Arrays.copyOfRange(tokens, from, Math.min(tokens.length, from + chunk));
                MemorySegment target = Golden.floats(some.length * width);
                program.forward(Batch.of(session, some, Rows.ALL), target);
                System.arraycopy(Golden.array(target), 0, all, from * width, some.length * width);
            }
        }
        return all;
    }

    /** Several sequences in one batch; their rows one after the other. */
    float[] together(String output, List<int[]> sequences, List<int[]> types) {
        Value value = program.graph().output(output);
        List<Slice> slices = new ArrayList<>();
        int rows = 0;
        for (int i = 0; i < sequences.size(); i++) {
            int[] tokens = sequences.get(i);
            slices.add(new Slice(session(tokens.length), tokens, types.get(i), Rows.ALL));
            rows += value.rows() == Value.Rows.SEQUENCES ? 1 : tokens.length;
        }
        MemorySegment target = Golden.floats(rows * value.width());
        program.forward(new Batch(slices, output), target);
        slices.forEach(slice -> slice.session().close());
        return Golden.array(target);
    }

    /** The prompt and {@code n} tokens of the highest score. */
    int[] greedy(int[] prompt, int n) {
        int[] all = Arrays.copyOf(prompt, prompt.length + n);
        int[] count = {prompt.length};
        try (Session session = session(all.length)) {
            session.decode(prompt, Sampling.GREEDY, n, token -> {
                all[count[0]++] = token;
                return true;
            });
        }
        return all;
    }

    @Override
    public void close() {
        program.close();
        executor.close();
        checkpoint.close();
    }
}
