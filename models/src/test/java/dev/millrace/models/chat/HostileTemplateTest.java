package dev.millrace.models.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.models.chat.jinja.Template;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A template from elsewhere can be wrong, but cannot take the process with it. */
class HostileTemplateTest {
    private static final String PIECES = "{}%#()[]'\"|.,:=+-~ \n\0x1";

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{% for a in range(1000000) %}{% for b in range(1000000) %}{% endfor %}{% endfor %}",
                "{% for a in range(100000000000) %}{% endfor %}",
                "{{ 'a' * 10000000000 }}",
                "{{ [1] * 9223372036854775807 }}",
                "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
                "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
                "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s | replace('a', 'aa') %}{% endfor %}",
                "{% set ns = namespace(l=[1, 2]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
                "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
                "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}",
                "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l == ns.l }}",
                "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
                "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l == [ns.l] }}",
                "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ [ns.l, 1] | unique }}",
                "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = {'a': ns.l} %}{% endfor %}{{ {ns.l: 1} }}",
                "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
                "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
                "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(25) }}",
                "{{ 'a\\nb' | indent(2000000000) }}",
                "{{ [1] | tojson(indent=2000000000) }}",
                "{{ [1] | tojson(indent=-5) }}",
                "{{ 2 ** 5000000000 }}",
                "{{ 9223372036854775807 + 1 }}",
                "{{ 99999999999999999999 }}",
                "{{ 1 // 0 }}{{ 1 % 0 }}",
                "{{ -(-9223372036854775807 - 1) }}",
                "{{ (-9223372036854775807 - 1) | abs }}",
                "{{ 'x'.split('') }}",
                "{{ 'x'[::0] }}",
                "{{ ''.__class__.__mro__ }}",
                "{{ messages.__class__() }}",
                "{{ range.__globals__ }}{{ range.__globals__.x }}",
                "{% set x = namespace() %}{% set x.a = x %}{{ x.a }}",
                "{% set x = namespace(l=none) %}{% set x.l = [x] %}{{ x.l }}",
                "{{ {[1]: 2} }}{{ {[1]: 2}[[1]] }}",
                "{{ messages | sort }}",
                "{{ '{999999999999}'.format(1) }}",
                "{% include 'x' %}",
                "{% import 'x' as y %}",
                "{{ 'x' | attr('getClass') }}{{ ('x' | attr('getClass'))() }}",
                "{{ strftime_now('%Q') }}",
                "{{ caller() }}",
            })
    void mischiefEndsSoonAndCleanly(String source) {
        Assertions.assertTimeoutPreemptively(
                Duration.ofSeconds(20),
                () -> {
                    try {
                        assertThat(render(source)).hasSizeLessThan(40 << 20);
                    } catch (MillraceException e) {
                        assertThat(e.getMessage()).doesNotContain("\n").contains("line 1");
                    }
                });
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "(",
                "[",
                "{'a':",
                "-",
                "not ",
                "{% if true %}",
                "{% for i in l %}",
                "x.",
                "a if b else ",
                "x(",
                "x[",
                "1 + ",
                "a or ",
                "x|f(",
                "is "
            })
    void deepNestingIsRefused(String piece) {
        String source =
                piece.startsWith("{%")
                        ? piece.repeat(20_000)
                        : "{{ " + piece.repeat(20_000) + "1 }}";
        assertThatThrownBy(() -> render(source))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("line 1");
    }

    @Test
    void longFlatTemplatesAreFine() {
        assertThat(render("{{ 'a' }}".repeat(50_000))).hasSize(50_000);
        assertThat(render("{% if false %}{% else %}b{% endif %}".repeat(10_000))).hasSize(10_000);
        assertThat(render("{{ [" + "1,".repeat(10_000) + "] | length }}")).isEqualTo("10000");
    }

    /** Random mixtures of a template's own pieces: rendered or refused, nothing else. */
    @Test
    void randomMixturesAreRenderedOrRefused() {
        long seed = ThreadLocalRandom.current().nextLong();
        Random random = new Random(seed);
        List<String> sources =
                List.of(
                        ChatGoldensTest.resource("templates/qwen3-thinking.jinja"),
                        ChatGoldensTest.resource("templates/macros.jinja"),
                        ChatGoldensTest.resource("templates/mistral-tools.jinja"));
        int refused = 0;
        for (int round = 0; round < 1_000; round++) {
            StringBuilder text = new StringBuilder(sources.get(random.nextInt(sources.size())));
            for (int n = 1 + random.nextInt(4); n > 0; n--) {
                int at = random.nextInt(text.length());
                int end = Math.min(text.length(), at + random.nextInt(12));
                switch (random.nextInt(3)) {
                    case 0 -> text.delete(at, end);
                    case 1 -> text.insert(random.nextInt(text.length()), text.substring(at, end));
                    default -> text.setCharAt(at, PIECES.charAt(random.nextInt(PIECES.length())));
                }
            }
            try {
                render(text.toString());
            } catch (MillraceException e) {
                refused++;
            } catch (RuntimeException | StackOverflowError e) {
                throw new AssertionError("seed " + seed + ", round " + round + ": " + text, e);
            }
        }
        assertThat(refused).as("seed %d", seed).isBetween(150, 995);
    }

    private static String render(String source) {
        List<Map<String, String>> messages =
                List.of(
                        Map.of("role", "user", "content", "q"),
                        Map.of("role", "assistant", "content", "a"));
        return Template.parse(source)
                .render(
                        Map.of("messages", messages, "bos_token", "<s>", "eos_token", "</s>"),
                        Clock.systemUTC());
    }
}
