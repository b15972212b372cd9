namespace Fude.Cli;

/// <summary>What went wrong, in one line for a person: what, where, and what to do; no type names and no stack trace.</summary>
internal sealed class Failure : Exception
{
    // ENOSPC, EFBIG and EDQUOT of Linux and of macOS; ERROR_HANDLE_DISK_FULL and ERROR_DISK_FULL of Windows.
    private static readonly int[] DiskFull = [28, 27, 122, 69, unchecked((int)0x80070027), unchecked((int)0x80070070)];

    public Failure(string message)
        : base(message)
    {
    }

    /// <summary>A failure in the user's language.</summary>
    public Failure(string english, string japanese)
        : base(Language.Say(english, japanese))
    {
    }

    /// <summary>Whether the command line is wrong, which is seen only with the model or the files at hand: exit code 2.</summary>
    public bool IsWrongUsage { get; private init; }

    /// <summary>A failure of the command line, in the user's language.</summary>
    public static Failure OfUsage(string english, string japanese) => new(english, japanese) { IsWrongUsage = true };

    /// <summary>The line for an exception.</summary>
    public static string Explain(Exception failure)
    {
        string text = failure switch
        {
            Failure or InvalidDataException or NotSupportedException or InvalidOperationException or Training.DivergenceException => failure.Message,
            ArgumentException argument => MessageOf(argument),
            UnauthorizedAccessException => Language.Say(
                $"{failure.Message} Check the permissions of the file and its folder.",
                $"{(IsJapanese(failure.Message) ? failure.Message : $"アクセスが拒否されました（{failure.Message.TrimEnd('.')}）。")}ファイルとフォルダーの権限を確かめてください。"),
            IOException when DiskFull.Contains(failure.HResult) => Language.Say(
                $"{failure.Message.TrimEnd('.')}. Make room on the disk, then run the command again.",
                $"{failure.Message.TrimEnd('.', '。')}。ディスクの空きを増やしてから、もう一度実行してください。"),
            // .NET's own words for it; what fude itself says of a missing file is longer.
            FileNotFoundException { FileName: { } file } when failure.Message.StartsWith("Could not find file", StringComparison.Ordinal) =>
                Language.Say($"{file}: there is no such file.", $"{file}: そのようなファイルはありません。"),
            IOException => OfSystem(failure.Message),
            OutOfMemoryException => Language.Say(
                "There is not enough memory. `fude inspect` shows what a model needs; a smaller model, context or batch needs less.",
                "メモリーが足りません。必要量は `fude inspect` で分かります。モデル、文脈長、バッチを小さくしてください。"),
            _ => Language.Say(
                $"an error in fude itself: {failure.Message} Run again with --verbose and report what it prints.",
                $"fude の内部エラーです: {failure.Message} --verbose を付けて実行し、表示された内容を報告してください。"),
        };
        return $"fude: {OneLine(text)}";
    }

    // What .NET and the system say is English: a Japanese reader is told at least what kind of thing is wrong.
    private static string OfSystem(string message) => Language.Say(message, IsJapanese(message) ? message : $"読み書きできません: {message}");

    // The libraries' sentences end so; the system's may have the Japanese name of a file in them.
    private static bool IsJapanese(string message) => message.EndsWith('。');

    /// <summary>The text without line breaks and other control characters: names out of a hostile file steer no terminal.</summary>
    internal static string OneLine(string text) => string.Create(text.Length, text, static (line, source) =>
    {
        for (int i = 0; i < line.Length; i++) line[i] = char.IsControl(source[i]) ? ' ' : source[i];
    });

    /// <summary>The message without .NET's note of the parameter's name.</summary>
    internal static string MessageOf(ArgumentException failure)
    {
        string suffix = $" (Parameter '{failure.ParamName}')";
        return failure.Message.EndsWith(suffix, StringComparison.Ordinal) ? failure.Message[..^suffix.Length] : failure.Message;
    }
}
