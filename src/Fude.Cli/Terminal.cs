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

    /// <summary>The process's own streams.</summary>
    public static Terminal Open()
    {
        bool screen = !Console.IsOutputRedirected;
        if (OperatingSystem.IsWindows() && screen) Console.OutputEncoding = Utf8;
        StreamWriter output = new(Console.OpenStandardOutput(), Utf8, bufferSize: 16384) { AutoFlush = screen, NewLine = "\n" };
        StreamWriter error = new(Console.OpenStandardError(), Utf8, bufferSize: 1024) { AutoFlush = true, NewLine = "\n" };
        return new Terminal(Console.OpenStandardInput(), output, error,
            IsInteractive: screen && !Console.IsInputRedirected, Console.IsInputRedirected, ErrorIsScreen: !Console.IsErrorRedirected, OutputIsScreen: screen);
    }
}
