package dev.millrace.models.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.Executor;
import dev.millrace.core.executor.Executors;
import dev.millrace.core.sampling.Sampling;
import dev.millrace.models.Engine;
import dev.millrace.models.GenerateOptions;
import dev.millrace.models.Generation;
import dev.millrace.models.Generation.Stop;
import dev.millrace.models.GenerationSink;
import dev.millrace.models.Model;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GeneratorTest {
    private static final GenerateOptions GREEDY = GenerateOptions.greedy().withMaxTokens(24);
    private static Model model;
    private static Executor executor;
    private static Engine engine;

    @BeforeAll
    static void open() {
        model = Model.embedded();
        executor = Executors.best().open();
        engine = Engine.open(model, executor);
    }

    @AfterAll
    static void close() {
        engine.close();
        executor.close();
        model.close();
    }

    @ParameterizedTest
    @ValueSource(longs = {0, 5, 99})
    void theCacheChangesNothing(long seed) {
        GenerateOptions options = GREEDY.withSampling(seed == 0 ? Sampling.GREEDY : Sampling.standard(seed));

        Generation with = engine.generate("It was a dark", options, GenerationSink.NONE);
        Generation without = engine.generate("It was a dark", options.withKvCache(false), GenerationSink.NONE);

        assertThat(without.ids()).isEqualTo(with.ids());
        assertThat(without.text()).isEqualTo(with.text());
    }

    @Test
    void whatIsStreamedIsTheText() {
        List<String> pieces = new ArrayList<>();
        List<Integer> ids = new ArrayList<>();
        Generation done = engine.generate("Once upon a time", GREEDY, new GenerationSink() {
            @Override
            public boolean text(String piece) {
                return pieces.add(piece);
            }

            @Override
            public boolean token(int id) {
                return ids.add(id);
            }
        });

        assertThat(String.join("", pieces)).isEqualTo(done.text());
        assertThat(ids).containsExactlyElementsOf(Arrays.stream(done.ids()).boxed().toList());
        assertThat(done.text()).isEqualTo(model.tokenizer().decode(done.ids(), true));
        assertThat(pieces.size()).isGreaterThan(10);
        assertThat(done.ids()).hasSize(24);
        assertThat(done.stop()).isEqualTo(Stop.LENGTH);
    }

    @Test
    void aStopTextEndsTheTextBeforeIt() {
        String whole = engine.generate("Once upon a time", GREEDY, GenerationSink.NONE).text();
        String stop = whole.substring(10, 14);
        StringBuilder shown = new StringBuilder();

        Generation done = engine.generate("Once upon a time", GREEDY.withStop("never comes", stop), piece -> {
            shown.append(piece);
            return true;
        });

        assertThat(done.stop()).isEqualTo(Stop.STOP);
        assertThat(done.text()).isEqualTo(whole.substring(0, whole.indexOf(stop)));
        assertThat(shown).hasToString(done.text());
        assertThat(done.ids().length).isLessThan(24);
    }

    @Test
    void theReceiverCanEndIt() {
        Generation done = engine.generate("Once upon a time", GREEDY, piece -> false);

        assertThat(done.stop()).isEqualTo(Stop.CANCELLED);
        assertThat(done.ids()).hasSize(1);
    }

    @Test
    void theEndOfSequenceTokenEndsItAndHasNoText() {
        int eos = model.config().eos().getFirst();
        GenerateOptions hot = GenerateOptions.greedy().withMaxTokens(500).withSampling(new Sampling(1, 30, 0, 1, 0, 4));

        Generation done = engine.generate(new int[] {47}, hot, GenerationSink.NONE);
        for (long seed = 5; done.stop() != Stop.EOS; seed++) {
            done = engine.generate(new int[] {47}, hot.withSampling(new Sampling(1, 30, 0, 1, 0, seed)), GenerationSink.NONE);
        }

        assertThat(done.ids()[done.ids().length - 1]).isEqualTo(eos);
        assertThat(done.ids()).containsOnlyOnce(eos);
        assertThat(done.text()).doesNotContain("endoftext");
    }

    @Test
    void theContextEndsItAndAFullerOneIsRefused() {
        int[] almost = new int[model.contextLength() - 3];
        Arrays.fill(almost, 300);

        Generation done = engine.generate(almost, GREEDY, GenerationSink.NONE);

        assertThat(done.stop()).isEqualTo(Stop.CONTEXT);
        assertThat(done.ids()).hasSize(3);
        assertThatThrownBy(() -> engine.generate(new int[model.contextLength()], GREEDY, GenerationSink.NONE))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("leaves no room");
        assertThatThrownBy(() -> engine.generate(new int[0], GREEDY, GenerationSink.NONE))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("empty");
    }
}
