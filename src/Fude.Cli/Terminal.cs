using System.Globalization;
using System.Text;

namespace Fude.Cli;

/// <summary>The three streams of a run: results go to <see cref="Output"/>, progress, timings and errors to <see cref="Error"/>.</summary>
/// <param name="Input">Standard input, as bytes: the commands decide how strictly to read it.</param>
/// <param name="Output">UTF-8 without a byte order mark, "\n" after each line, never folded to a width.</param>
/// <param name="Error">Likewise.</param>
/// <param name="IsInteractive">A person sits at a terminal: input and output both are one.</param>
/// <param name="InputIsRedirected">Input comes from a file or a pipe.</param>
/// <param name="ErrorIsScreen">Progress can be drawn on <see cref="Error"/>.</param>
/// <param name="OutputIsScreen">Colours can be seen on <see cref="Output"/>.</param>
internal sealed record Terminal(
    Stream Input, TextWriter Output, TextWriter Error, bool IsInteractive = false, bool InputIsRedirected = true, bool ErrorIsScreen = false,
    bool OutputIsScreen = false)
{
    private const string Flags = "flags:";

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

    /// <summary>Whether writing to <see cref="Output"/> fails: its reader has closed the pipe.</summary>
    public bool OutputIsGone()
    {
        try
        {
            Output.Flush();
            return false;
        }
        catch (IOException)
        {
            return true;
        }
    }

    /// <summary>The process's own streams. One that was closed when the program began, as daemons have them, takes everything and keeps nothing (on Linux, which
    /// tells).</summary>
    public static Terminal Open()
    {
        (bool hasInput, bool hasOutput, bool hasError) = (IsOpen(0), IsOpen(1), IsOpen(2));
        bool screen = hasOutput && !Console.IsOutputRedirected, isRedirected = !hasInput || Console.IsInputRedirected;
        if (OperatingSystem.IsWindows() && screen) Console.OutputEncoding = Utf8;
        Stream results = hasOutput ? Console.OpenStandardOutput() : Stream.Null;
        if (hasOutput && !screen && PipedOutput.IsSupported) results = new PipedOutput(results);
        StreamWriter output = new(results, Utf8, bufferSize: 16384) { AutoFlush = screen, NewLine = "\n" };
        StreamWriter error = new(new Remarks(hasError ? Console.OpenStandardError() : Stream.Null), Utf8, bufferSize: 1024) { AutoFlush = true, NewLine = "\n" };
        return new Terminal(hasInput ? Console.OpenStandardInput() : Stream.Null, output, error,
            IsInteractive: screen && !isRedirected, isRedirected, ErrorIsScreen: hasError && !Console.IsErrorRedirected, OutputIsScreen: screen);
    }

    // A number that was free when the program began went to the first file that .NET opened for itself, which is none to write to: one that is only
    // read, or the memory that code is in. Other systems than Linux do not say; writing then fails, or does not.
    private static bool IsOpen(int descriptor)
    {
        if (!OperatingSystem.IsLinux() || !Directory.Exists("/proc/self/fdinfo")) return true;
        try
        {
            string place = descriptor.ToString(CultureInfo.InvariantCulture);
            return new FileInfo($"/proc/self/fd/{place}") is { LinkTarget: { } target }
                && IsOpen(descriptor, target, File.ReadLines($"/proc/self/fdinfo/{place}").FirstOrDefault(line => line.StartsWith(Flags, StringComparison.Ordinal)));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true;        // nobody knows
        }
    }

    /// <summary>Whether a descriptor is one that the program was given.</summary>
    /// <param name="descriptor">0, 1 or 2.</param>
    /// <param name="target">What it leads to.</param>
    /// <param name="flags">The line of its flags in /proc/self/fdinfo; null where there is none.</param>
    internal static bool IsOpen(int descriptor, string target, string? flags)
    {
        if (target.StartsWith("/memfd:doublemapper", StringComparison.Ordinal)) return false;
        if (descriptor == 0 || flags is null || flags.TrimEnd() is not [.., >= '0' and <= '7' and var last]) return true;
        return (last - '0') % 4 != 0;       // the lowest two bits of an octal number: 0 is for reading alone
    }

    /// <summary>Standard error, which keeps nothing back: what is said there is for whoever is still there. A terminal that was closed meanwhile does not end a training.</summary>
    private sealed class Remarks(Stream stream) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override void Flush()
        {
        }

        public override void Write(byte[] buffer, int offset, int count)
        {
            try
            {
                stream.Write(buffer, offset, count);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Nobody is left to tell.
            }
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
