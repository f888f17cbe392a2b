package dev.millrace.bench.cli;

import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/**
 * Whole numbers from 0 as lists and ranges, the way llama-bench writes them: {@code 16,512}, {@code 1-8} (by ones),
 * {@code 128-512+128} (by steps), {@code 16-1024*2} (by factors).
 */
public record Counts(List<Integer> values) {
    private static final int MOST = 1000;

    public Counts {
        values = List.copyOf(values);
    }

    /** How many there are, zeros left out. */
    long tests() {
        return values.stream().filter(n -> n > 0).count();
    }

    @Override
    public String toString() {
        return String.join(",", values.stream().map(String::valueOf).toList());
    }

    static Counts of(Integer... values) {
        return new Counts(List.of(values));
    }

    /** For picocli. */
    public static final class Converter implements ITypeConverter<Counts> {
        @Override
        public Counts convert(String text) {
            List<Integer> values = new ArrayList<>();
            for (String part : text.split(",", -1)) {
                range(part.strip(), values);
            }
            return new Counts(values);
        }

        private static void range(String part, List<Integer> values) {
            int dash = part.indexOf('-');
            if (dash < 0) {
                values.add(number(part, 0));
                return;
            }
            int plus = part.indexOf('+', dash);
            int times = part.indexOf('*', dash);
            int end = plus > 0 ? plus : times > 0 ? times : part.length();
            long first = number(part.substring(0, dash), times > 0 ? 1 : 0);
            long last = number(part.substring(dash + 1, end), 0);
            int by = end == part.length() ? 1 : number(part.substring(end + 1), times > 0 ? 2 : 1);
            for (long n = first; n <= last; n = times > 0 ? n * by : n + by) {
                if (values.size() == MOST) {
                    throw new TypeConversionException("'" + part + "' gives more than " + MOST + " values");
                }
                values.add((int) n);
            }
            if (first > last) {
                throw new TypeConversionException("'" + part + "' is an empty range");
            }
        }

        private static int number(String text, int least) {
            try {
                int n = Integer.parseInt(text);
                if (n >= least) {
                    return n;
                }
            } catch (NumberFormatException e) {
                // said below
            }
            throw new TypeConversionException("'" + text + "' is no whole number from " + least
                    + "; write 512 or 16,512 or 128-512+128 or 16-1024*2");
        }
    }
}
