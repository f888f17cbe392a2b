package dev.millrace.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.executor.CompileOptions;
import dev.millrace.core.executor.ExecutorOptions;
import dev.millrace.core.executor.Probe;
import dev.millrace.cuda.driver.Libcuda.Answer;
import dev.millrace.cuda.driver.Libcuda.DeviceInfo;
import java.util.List;
import org.junit.jupiter.api.Test;

class CudaProbeTest {
    private static final DeviceInfo GOOD = new DeviceInfo(0, "A card", 80L << 30, 90, 132);

    private static String reason(Answer answer) {
        Probe probe = CudaProbe.judge(answer);
        assertThat(probe).isInstanceOf(Probe.Unavailable.class);
        String reason = ((Probe.Unavailable) probe).reason();
        assertThat(reason.lines()).as("one line").hasSize(1);
        return reason;
    }

    @Test
    void aMissingDriverLibraryIsAReasonAndNoException() {
        Probe probe = CudaProbe.probe("libno-such-driver.so.1");
        assertThat(probe).isEqualTo(new Probe.Unavailable("no NVIDIA driver (libno-such-driver.so.1 not found)"));
    }

    @Test
    void aDriverTooOldNamesBothVersionsAndWhatToDo() {
        assertThat(reason(new Answer.Devices(12040, List.of(GOOD)))).contains("12.4", "13.0", "update");
    }

    @Test
    void noDeviceCardsTooOldAndTooLittleMemoryAreToldApart() {
        assertThat(reason(new Answer.Devices(13000, List.of()))).isEqualTo("no NVIDIA GPU");
        assertThat(reason(new Answer.Failed("cuInit", 100))).contains("no NVIDIA GPU");
        assertThat(reason(new Answer.Devices(13000, List.of(new DeviceInfo(0, "Old", 16L << 30, 75, 40)))))
                .contains("Old", "7.5", "8.0");
        assertThat(reason(new Answer.Devices(13000, List.of(new DeviceInfo(0, "Small", 512L << 20, 86, 4)))))
                .contains("Small", "512 MiB", "1024 MiB");
        assertThat(reason(new Answer.Failed("cuInit", 999))).contains("999");
        assertThat(reason(new Answer.Failed("cuInit", 12345))).contains("12345");
    }

    @Test
    void onlyUsableCardsAreListedAndNumberedFromZero() {
        DeviceInfo old = new DeviceInfo(0, "Old", 16L << 30, 75, 40);
        DeviceInfo second = new DeviceInfo(1, "Second", 24L << 30, 89, 100);
        Probe probe = CudaProbe.judge(new Answer.Devices(13010, List.of(old, second)));
        assertThat(((Probe.Available) probe).devices()).singleElement().satisfies(d -> {
            assertThat(d.index()).isZero();
            assertThat(d.name()).isEqualTo("Second");
            assertThat(d.memoryBytes()).isEqualTo(24L << 30);
            assertThat(d.detail()).contains("8.9", "13.1");
        });
    }

    @Test
    void probingNeverThrowsAndSaysWhyInOneLine() {
        Probe probe = new CudaProvider().probe();
        if (probe instanceof Probe.Unavailable(String reason)) {
            assertThat(reason.lines()).hasSize(1);
        } else {
            assertThat(((Probe.Available) probe).devices()).isNotEmpty();
        }
    }

    @Test
    void asManyPromptTokensAtOnceAsAQuarterOfTheMemoryBesideTheWeightsHolds() {
        assertThat(PrefillChunk.choose(1 << 20, tokens -> 64L * tokens)).isEqualTo(4096);
        assertThat(PrefillChunk.choose(1 << 20, tokens -> 65L * tokens)).isEqualTo(2048);
        assertThat(PrefillChunk.choose(1 << 20, tokens -> 1000L * tokens)).isEqualTo(512);
        Lowering.Chunk asked = PrefillChunk.of(new CompileOptions(100), 1);
        assertThat(asked.choose(1 << 20, tokens -> 1000L * tokens)).isEqualTo(100);
        Lowering.Chunk chosen = PrefillChunk.of(CompileOptions.DEFAULT, 3 << 20);
        assertThat(chosen.choose(2 << 20, tokens -> 64L * tokens)).isEqualTo(4096);
    }

    @Test
    void workerThreadsAreRefused() {
        assertThatThrownBy(() -> new CudaProvider().open(0, new ExecutorOptions(3, ExecutorOptions.Math.F32)))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("--threads 3");
    }
}
