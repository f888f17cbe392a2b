package dev.millrace.bench.rules;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import org.junit.jupiter.api.Test;

/** The table of modules in docs/architecture.md: who may know whom. */
class ModuleRulesTest {
    private static final JavaClasses MILLRACE = new ClassFileImporter()
            .withImportOption(new ImportOption.DoNotIncludeTests())
            .importPackages("dev.millrace");

    private static final String CORE = "dev.millrace.core..";
    private static final String QUANT = "dev.millrace.quant..";
    private static final String CPU = "dev.millrace.cpu..";
    private static final String CUDA = "dev.millrace.cuda..";
    private static final String MODELS = "dev.millrace.models..";
    private static final String BENCH = "dev.millrace.bench..";

    private static ArchRule mayUse(String module, String... others) {
        String[] allowed = new String[others.length + 2];
        allowed[0] = module;
        allowed[1] = "java..";
        System.arraycopy(others, 0, allowed, 2, others.length);
        return classes().that().resideInAPackage(module).should().onlyDependOnClassesThat().resideInAnyPackage(allowed);
    }

    @Test
    void coreUsesTheJdkAlone() {
        mayUse(CORE).check(MILLRACE);
    }

    @Test
    void quantUsesCore() {
        mayUse(QUANT, CORE).check(MILLRACE);
    }

    @Test
    void cpuSimdUsesCoreAndQuantAndVectors() {
        mayUse(CPU, CORE, QUANT, "jdk.incubator.vector..", "jdk.jfr..", "com.sun.management..").check(MILLRACE);
    }

    @Test
    void cudaUsesCoreAndQuantAndJCuda() {
        mayUse(CUDA, CORE, QUANT, "jcuda..", "jdk.jfr..").check(MILLRACE);
    }

    @Test
    void modelsKnowsNoExecutor() {
        classes().that().resideInAPackage(MODELS)
                .should().onlyDependOnClassesThat(resideInAPackage("dev.millrace..").negate()
                        .or(resideInAPackage(CORE)).or(resideInAPackage(QUANT)).or(resideInAPackage(MODELS)))
                .check(MILLRACE);
    }

    @Test
    void nobodyKnowsBench() {
        classes().that().resideInAPackage(BENCH)
                .should().onlyHaveDependentClassesThat().resideInAPackage(BENCH)
                .check(MILLRACE);
    }

    @Test
    void theCommandLineIsKnownToCommandsOnly() {
        classes().that().resideInAPackage("dev.millrace.models.cli..")
                .should().onlyHaveDependentClassesThat().resideInAnyPackage("dev.millrace.models.cli..", BENCH)
                .check(MILLRACE);
    }

    @Test
    void theModulesFormNoCycle() {
        slices().matching("dev.millrace.(*)..").should().beFreeOfCycles().check(MILLRACE);
    }
}
