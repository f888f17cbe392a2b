package dev.millrace.models.cli;

import picocli.CommandLine.IVersionProvider;

/** The version in the manifest of Millrace's jar. */
final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
        return new String[] {"millrace " + number(), "Java " + Runtime.version()};
    }

    static String number() {
        String version = Version.class.getPackage().getImplementationVersion();
        return version == null ? "(not from a jar)" : version;
    }
}
