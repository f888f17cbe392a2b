package dev.millrace.models.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Views;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsTest {
    @TempDir
    Path temp;

    @Test
    void readsWhatItWrote() {
        Path file = temp.resolve("all.safetensors");
        float[] values = {1, -2, 3.5f, 0, 1e-8f, 65504};
        new SafetensorsWriter()
                .metadata("format", "pt")
                .add("matrix", values, 2, 3)
                .add("half", Views.converted(Views.of("h", new Shape(3, 2), values), WeightFormat.F16))
                .add("brain", Views.converted(Views.vector("b", values), WeightFormat.BF16), 3, 1, 2)
                .add("ids", new int[] {-1, 0, Integer.MAX_VALUE}, 3)
                .add("empty", new float[0], 0, 7)
                .add("scalar", new float[] {9})
                .add("bias", Views.vector("b", 1, 2))
                .raw("flags", "BOOL", MemorySegment.ofArray(new byte[] {1, 0, 1}), 3)
                .write(file);
        try (Safetensors read = Safetensors.open(file)) {
            assertThat(read.metadata()).isEqualTo(Map.of("format", "pt"));
            assertThat(read.tensors().keySet())
                    .containsExactly("matrix", "half", "brain", "ids", "empty", "scalar", "bias", "flags");
            assertThat(read.tensor("matrix").weight().floats()).containsExactly(values);
            assertThat(read.tensor("matrix").weight().shape()).isEqualTo(new Shape(2, 3));
            assertThat(read.tensor("half").weight().floats()).containsExactly(1, -2, 3.5f, 0, 0, 65504);
            assertThat(read.tensor("brain").dims()).containsExactly(3L, 1L, 2L);
            assertThat(read.tensor("brain").weight().shape()).isEqualTo(new Shape(3, 2));
            assertThat(read.tensor("ids").ints()).containsExactly(-1, 0, Integer.MAX_VALUE);
            assertThat(read.tensor("scalar").weight().floats()).containsExactly(9);
            assertThat(read.tensor("bias").dims()).containsExactly(2L);
            assertThatThrownBy(() -> read.tensor("empty").weight()).hasMessageContaining("is empty");
            assertThatThrownBy(() -> read.tensor("ids").weight()).hasMessageContaining("I32");
            assertThatThrownBy(() -> read.tensor("absent")).hasMessageContaining("no tensor absent");
            assertThatThrownBy(() -> read.tensor("matrix").ints()).hasMessageContaining("F32");
        }
        assertThat(temp.resolve("all.safetensors.part")).doesNotExist();
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void aDeviceIsNotReplacedByAFile() {
        assertThatThrownBy(() -> new SafetensorsWriter().write(Path.of("/dev/null"))).hasMessageContaining("no regular file");
        assertThat(Files.isRegularFile(Path.of("/dev/null"))).isFalse();
    }

    @Test
    void whatCannotBeWrittenIsRefused() throws IOException {
        SafetensorsWriter writer = new SafetensorsWriter().add("a", new float[1], 1);
        assertThatThrownBy(() -> writer.add("a", new float[1], 1)).hasMessageContaining("a is added twice");
        assertThatThrownBy(() -> writer.add("q",
                        Views.random("q", new Shape(1, 32), WeightFormat.Q8_0, 1, 1)))
                .hasMessageContaining("Q8_0");
        assertThatThrownBy(() -> writer.write(temp)).isInstanceOf(MillraceException.class).hasMessageContaining("directory");
        assertThatThrownBy(() -> writer.write(temp.resolve("no/such/place.safetensors")))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("place.safetensors: cannot be written");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 16]}} | takes 8 bytes, data_offsets [0, 16] hold 16
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [1, 17]}} | lie outside the file's 16 bytes
            {"a": {"dtype": "F32", "shape": [3], "data_offsets": [4, 16]}} | bytes 0 to 4 between the header and a belong to no tensor
            {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}} | tensors end at byte 12 of the data, the file has 16
            {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}} | lie outside
            {"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}} | data_offsets holds -8, not a size
            {"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}} | shape holds -4, not a size
            {"a": {"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]}} | shape holds 4.0, not a size
            {"a": {"dtype": "F32", "shape": [1e1], "data_offsets": [0, 16]}} | not a size
            {"a": {"dtype": "F32", "shape": [99999999999999999999], "data_offsets": [0, 16]}} | not a size
            {"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 16]}} | overflows
            {"a": {"dtype": "F32", "shape": [9223372036854775807, 2], "data_offsets": [0, 16]}} | overflows
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 9223372036854775807]}} | lie outside
            {"a": {"dtype": "F32", "shape": 4, "data_offsets": [0, 16]}} | shape is not a list
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0]}} | data_offsets is not a pair
            {"a": {"dtype": "F32", "shape": [4]}} | data_offsets is not a pair
            {"a": {"dtype": "F31", "shape": [4], "data_offsets": [0, 16]}} | dtype F31 is not known
            {"a": {"dtype": 4, "shape": [4], "data_offsets": [0, 16]}} | no dtype
            {"a": {"shape": [4], "data_offsets": [0, 16]}} | no dtype
            {"a": null} | no dtype
            {"a": []} | no dtype
            {"a": {"dtype": "U8", "shape": [10], "data_offsets": [0, 10]}, "b": {"dtype": "U8", "shape": [10], "data_offsets": [6, 16]}} | tensors a and b overlap at byte 6
            {"a": {"dtype": "U8", "shape": [16], "data_offsets": [0, 16]}, "b": {"dtype": "U8", "shape": [16], "data_offsets": [0, 16]}} | overlap at byte 0
            {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}, "a": {"dtype": "U8", "shape": [8], "data_offsets": [8, 16]}} | not valid JSON
            {"a": {"dtype": "U8", "dtype": "U8", "shape": [16], "data_offsets": [0, 16]}} | not valid JSON
            {"__metadata__": 5} | __metadata__ is not an object
            {"__metadata__": {"a": 5}} | __metadata__ a is not a string
            [1, 2] | a JSON object was expected
            {"a": | not valid JSON
            {} {} | not valid JSON
            {"a\\u000ab": {"dtype": "F31", "shape": [4], "data_offsets": [0, 16]}} | a?b: dtype F31
            """)
    void aLyingHeaderIsRefused(String header, String message) throws IOException {
        Hostile.refused(Safetensors::open, file(header.getBytes(StandardCharsets.UTF_8), 16), message);
    }

    @Test
    void deepNestingLongNumbersAndNamesAreRefused() throws IOException {
        Hostile.refused(Safetensors::open, text("{\"a\":" + "[".repeat(1_000_000)), "not valid JSON");
        Hostile.refused(Safetensors::open, text("{\"a\":" + "{\"b\":".repeat(200_000)), "not valid JSON");
        Hostile.refused(Safetensors::open, text("{\"a\":" + "9".repeat(100_000) + "}"), "not valid JSON");
        Hostile.refused(Safetensors::open, text("{\"" + "n".repeat(1_000_000) + "\":1}"), "not valid JSON");
        Hostile.refused(Safetensors::open, text("{\"" + "n".repeat(60_000) + "\":1}"), "nnn...");
    }

    @Test
    void aLyingHeaderLengthIsRefused() throws IOException {
        for (long length : new long[] {Long.MIN_VALUE, -1, 0, 1, 9, 100, 100_000_001, Long.MAX_VALUE}) {
            byte[] bytes = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putLong(length).array();
            Hostile.refused(Safetensors::open, Files.write(temp.resolve("length"), bytes), "header length "
                    + Long.toUnsignedString(length));
        }
        for (int size = 0; size < 8; size++) {
            Hostile.refused(Safetensors::open, Files.write(temp.resolve("short"), new byte[size]), size + " bytes");
        }
        Hostile.refused(Safetensors::open, temp.resolve("absent"), "no such file");
        Hostile.refused(Safetensors::open, temp, "is a directory");
    }

    @Test
    void everyTruncationIsRefused() throws IOException {
        byte[] whole = small();
        Path file = temp.resolve("cut.safetensors");
        for (int size = 0; size < whole.length; size++) {
            Files.write(file, java.util.Arrays.copyOf(whole, size));
            Hostile.refused(Safetensors::open, file);
        }
    }

    @Test
    void alteredFilesAreRefusedOrRead() throws IOException {
        byte[] whole = small();
        int header = (int) ByteBuffer.wrap(whole).order(ByteOrder.LITTLE_ENDIAN).getLong() + 8;
        Hostile.mutations(whole, header, temp.resolve("altered.safetensors"), 3000, Safetensors::open, file -> {
            for (Tensor tensor : file.tensors().values()) {
                if (tensor.elements() > 0 && tensor.format().isPresent()) {
                    assertThat(tensor.weight().floats()).hasSize((int) tensor.elements());
                }
                if (List.of("I32", "I64", "U8").contains(tensor.type())) {
                    tensor.ints();
                }
            }
        });
    }

    @Test
    void aFileCutShortWhileItIsOpenFailsWithoutEndingTheProcess() throws IOException {
        Path file = temp.resolve("shrinks.safetensors");
        new SafetensorsWriter().add("a", new float[1 << 20], 1 << 20).write(file);
        try (Safetensors open = Safetensors.open(file)) {
            try (var channel = java.nio.channels.FileChannel.open(file, StandardOpenOption.WRITE)) {
                channel.truncate(4096);
            }
            assertThatThrownBy(() -> open.tensor("a").weight().floats()).isInstanceOf(InternalError.class);
        }
    }

    @Test
    void closingFreesTheMappingAndLaterReadsFail() throws IOException {
        Path file = temp.resolve("closed.safetensors");
        new SafetensorsWriter().add("a", new float[4], 4).write(file);
        Safetensors open = Safetensors.open(file);
        var weight = open.tensor("a").weight();
        open.close();
        open.close();
        assertThatThrownBy(weight::floats).isInstanceOf(IllegalStateException.class);
        assertThat(mapped(file)).isZero();
    }

    private static long mapped(Path file) throws IOException {
        Path maps = Path.of("/proc/self/maps");
        if (!Files.exists(maps)) {
            return 0;
        }
        try (Stream<String> lines = Files.lines(maps)) {
            return lines.filter(line -> line.endsWith(file.toString())).count();
        }
    }

    @Test
    void aFailedOpenLeavesNothingMapped() throws IOException {
        Path file = file("{\"a\": 1}".getBytes(StandardCharsets.UTF_8), 16);
        Hostile.refused(Safetensors::open, file);
        assertThat(mapped(file)).isZero();
    }

    @Test
    void readsFromInsideAnArchive() throws IOException {
        Path file = temp.resolve("inner.safetensors");
        new SafetensorsWriter().add("a", new float[] {1, 2, 3}, 3).write(file);
        Path zip = temp.resolve("model.zip");
        try (FileSystem archive = FileSystems.newFileSystem(URI.create("jar:" + zip.toUri()), Map.of("create", "true"))) {
            Files.copy(file, archive.getPath("inner.safetensors"));
        }
        try (FileSystem archive = FileSystems.newFileSystem(zip);
                Safetensors open = Safetensors.open(archive.getPath("inner.safetensors"))) {
            assertThat(open.tensor("a").weight().floats()).containsExactly(1, 2, 3);
        }
    }

    private byte[] small() throws IOException {
        Path file = temp.resolve("small.safetensors");
        new SafetensorsWriter()
                .metadata("format", "pt")
                .add("model.a", new float[] {1, 2, 3, 4, 5, 6}, 2, 3)
                .add("model.b", Views.converted(Views.vector("b", 1, 2, 3, 4), WeightFormat.F16))
                .add("model.ids", new int[] {7, 8}, 2)
                .write(file);
        return Files.readAllBytes(file);
    }

    private Path text(String header) throws IOException {
        return file(header.getBytes(StandardCharsets.UTF_8), 16);
    }

    private Path file(byte[] header, int data) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(8 + header.length + data).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putLong(header.length).put(header);
        return Files.write(temp.resolve("hostile.safetensors"), bytes.array());
    }
}
