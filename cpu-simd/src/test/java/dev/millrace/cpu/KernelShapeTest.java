package dev.millrace.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.MethodModel;
import java.lang.classfile.instruction.InvokeInstruction;
import java.lang.constant.ClassDesc;
import java.lang.constant.MethodTypeDesc;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Vectors stay in registers only within what the JIT compiles as one piece. It stops inlining where a method has grown
 * large, at another call in each start of the JVM; a vector that crosses that call is an object from then on.
 *
 * <p>The JDK's own vector methods it inlines even then, but later, when the classes of vectors are known only by what has
 * been counted so far, in methods that all kernels of the process share. Where several classes have been counted, an
 * operation is no instruction but a call on objects: int4 prompts ran at half their speed after int8 ones.
 */
class KernelShapeTest {
    private static final List<String> VECTORS =
            List.of("Vector", "FloatVector", "IntVector", "ShortVector", "ByteVector", "LongVector", "VectorMask");

    /** C2 stops at 18,000 (NodeCountInliningCutoff); arithmetic round the vectors takes some. */
    private static final int INLINED_NODES = 17_000;

    /**
     * Larger than that, which does it no harm: what is beyond are 16-bit additions, multiplications and stores, which the
     * executor has for vectors of one class only.
     */
    private static final String INLINED_LATE = "dev/millrace/cpu/matmul/UnpackedNibbles.integers";

    @Test
    void noMethodTakesOrReturnsAVector() throws IOException, URISyntaxException {
        List<String> found = new ArrayList<>();
        List<Path> files = classes();
        for (Path file : files) {
            ClassModel model = ClassFile.of().parse(file);
            String name = model.thisClass().asInternalName();
            model.methods().forEach(m -> {
                MethodTypeDesc type = m.methodTypeSymbol();
                if (isVector(type.returnType()) || type.parameterList().stream().anyMatch(KernelShapeTest::isVector)) {
                    found.add(name + "." + m.methodName() + type.displayDescriptor());
                }
            });
        }
        assertThat(files).as("classes").hasSizeGreaterThan(20);
        assertThat(found).isEmpty();
    }

    @Test
    void methodsThatAllVectorsShareSeeOneClassOfVectors() throws IOException, URISyntaxException {
        Map<String, Set<String>> receivers = new TreeMap<>();
        calls((method, call) -> {
            if (call.name().stringValue().startsWith("reinterpretAs")) {
                receivers.computeIfAbsent(call.name().stringValue(), k -> new TreeSet<>()).add(owner(call));
            }
            assertThat(call.name().stringValue())
                    .as("%s: convert looks for its species; convertShape is given it", method)
                    .isNotEqualTo("convert");
        });
        assertThat(receivers).isNotEmpty().allSatisfy((method, classes) -> assertThat(classes).hasSize(1));
    }

    @Test
    void kernelsOfIntegersAreInlinedAsAWhole() throws IOException, URISyntaxException {
        Map<String, Integer> nodes = new TreeMap<>();
        Set<String> integers = new TreeSet<>();
        calls((method, call) -> {
            nodes.merge(method, nodes(call), Integer::sum);
            boolean shorts = owner(call).equals("ShortVector") && List.of("add", "mul").contains(call.name().stringValue());
            if (shorts || owner(call).equals("ByteVector")) {
                integers.add(method);
            }
        });
        assertThat(integers).contains(INLINED_LATE);
        integers.removeIf(method -> method.startsWith("dev/millrace/cpu/roof/") || method.equals(INLINED_LATE));
        assertThat(integers).hasSizeGreaterThan(3);
        assertThat(integers).allSatisfy(method -> assertThat(nodes.get(method)).as(method).isLessThan(INLINED_NODES));
    }

    /** Nodes that C2 makes of a call while it parses, medians of {@code -XX:+LogCompilation}. */
    private static int nodes(InvokeInstruction call) {
        boolean scalar = call.typeSymbol().parameterList().stream().anyMatch(ClassDesc::isPrimitive);
        return switch (call.name().stringValue()) {
            case "broadcast", "zero", "selectFrom" -> 155;
            case "intoArray" -> 220;
            case "fromArray" -> 310;
            case "lanewise" -> 350;
            case "intoMemorySegment", "convertShape" -> 415;
            case "fromMemorySegment" -> 475;
            case "fma" -> 460;
            default -> scalar ? 640 : 410;
        };
    }

    /** All calls of vector methods. */
    private static void calls(BiConsumer<String, InvokeInstruction> each) throws IOException, URISyntaxException {
        for (Path file : classes()) {
            ClassModel model = ClassFile.of().parse(file);
            for (MethodModel method : model.methods()) {
                String name = model.thisClass().asInternalName() + "." + method.methodName();
                method.code().ifPresent(code -> code.forEach(element -> {
                    if (element instanceof InvokeInstruction call && isVector(call.owner().asSymbol())) {
                        each.accept(name, call);
                    }
                }));
            }
        }
    }

    private static String owner(InvokeInstruction call) {
        return call.owner().asSymbol().displayName();
    }

    private static List<Path> classes() throws IOException, URISyntaxException {
        Path classes = Path.of(Lanes.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        try (Stream<Path> all = Files.walk(classes)) {
            return all.filter(f -> f.toString().endsWith(".class")).toList();
        }
    }

    private static boolean isVector(ClassDesc type) {
        ClassDesc element = type.isArray() ? type.componentType() : type;
        return element.packageName().equals("jdk.incubator.vector") && VECTORS.contains(element.displayName());
    }
}
