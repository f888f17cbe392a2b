package dev.millrace.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.constant.ClassDesc;
import java.lang.constant.MethodTypeDesc;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Vectors stay in registers only within what the JIT compiles as one piece. It stops inlining where a method has grown
 * large, at another call in each start of the JVM; a vector that crosses that call is an object from then on.
 */
class KernelShapeTest {
    private static final List<String> VECTORS =
            List.of("Vector", "FloatVector", "IntVector", "ShortVector", "ByteVector", "LongVector", "VectorMask");

    @Test
    void noMethodTakesOrReturnsAVector() throws IOException, URISyntaxException {
        Path classes = Path.of(Lanes.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        List<String> found = new ArrayList<>();
        List<Path> files;
        try (Stream<Path> all = Files.walk(classes)) {
            files = all.filter(f -> f.toString().endsWith(".class")).toList();
        }
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
        assertThat(files).as("classes under " + classes).hasSizeGreaterThan(20);
        assertThat(found).isEmpty();
    }

    private static boolean isVector(ClassDesc type) {
        ClassDesc element = type.isArray() ? type.componentType() : type;
        return element.packageName().equals("jdk.incubator.vector") && VECTORS.contains(element.displayName());
    }
}
