package dev.millrace.models.cli;

import java.util.Arrays;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Token ids written as {@code 1,2,3}. */
public record TokenIds(int[] ids) {

    /** Reads ids parted by commas; spaces round them do no harm. */
    public static final class Converter implements ITypeConverter<TokenIds> {
        @Override
        public TokenIds convert(String value) {
            int[] ids = Arrays.stream(value.split(",", -1)).mapToInt(Converter::id).toArray();
            return new TokenIds(ids);
        }

        private static int id(String text) {
            int id;
            try {
                id = Integer.parseInt(text.strip());
            } catch (NumberFormatException e) {
                throw new TypeConversionException("'" + text.strip() + "' is no token id; write whole numbers as in 1,2,3");
            }
            if (id < 0) {
                throw new TypeConversionException("token id " + id + " is negative");
            }
            return id;
        }
    }
}
