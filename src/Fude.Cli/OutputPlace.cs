using Fude.Tokenizers.Files;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>Where a command writes. What cannot be written there is told before the work, which may take hours.</summary>
internal static class OutputPlace
{
    /// <summary>Fails where a folder cannot be written.</summary>
    public static void RequireFolder(string folder)
    {
        RequireName(folder);
        if (File.Exists(folder))
            throw new Failure(
                $"{folder} is a file: give the name of a folder to write.", $"{folder} はファイルです。書き出すフォルダーの名前を指定してください。");
        RequireRoom(folder, Path.GetFullPath(folder));
    }

    /// <summary>Fails where a file cannot be written.</summary>
    public static void RequireFile(string file)
    {
        RequireName(file);
        if (Directory.Exists(file))
            throw new Failure(
                $"{file} is a folder: give the name of a file to write.", $"{file} はフォルダーです。書き出すファイルの名前を指定してください。");
        RequireRoom(file, Path.GetDirectoryName(Path.GetFullPath(file)) ?? ".");
    }

    /// <summary>Fails where a file cannot be written, or is not to be replaced.</summary>
    public static void RequireNew(string file, bool isForced)
    {
        RequireFile(file);
        if (File.Exists(file) && !isForced)
            throw new Failure(
                $"{file} is there already: choose another name, or replace it with --force.",
                $"{file} は既にあります。別の名前にするか、--force で置き換えてください。");
    }

    /// <summary>Fails where the file of --out is one that is read, or one of a folder that is read and there already; also through links.</summary>
    public static void RequireApart(string file, IEnumerable<string> inputs)
    {
        string place = RealPath.Of(file);
        foreach (string input in inputs)
        {
            string read = RealPath.Of(input);
            if (place.Equals(read, RealPath.Names)
                || (File.Exists(place) && Directory.Exists(read) && place.StartsWith(read + Path.DirectorySeparatorChar, RealPath.Names)))
                throw new Failure(
                    $"--out {file} would write over what is read ({input}): give another name.",
                    $"--out {file} では、読み込む対象（{input}）が上書きされてしまいます。別の名前を指定してください。");
        }
    }

    private static void RequireName(string name)
    {
        if (string.IsNullOrWhiteSpace(name))
            throw Failure.OfUsage("The name of what is to be written is empty.", "書き出し先の名前が空です。");
    }

    // The nearest folder that is there has to take a file: those that are missing below it are made when there is something to write.
    private static void RequireRoom(string named, string folder)
    {
        string? nearest = folder;
        for (; nearest is not null && !Directory.Exists(nearest); nearest = Path.GetDirectoryName(nearest))
            if (File.Exists(nearest))
                throw new Failure($"{named} cannot be written: {nearest} is a file.", $"{named} に書き込めません。{nearest} はファイルです。");
        if (nearest is null) return;
        try
        {
            new FileStream(Path.Combine(nearest, Path.GetRandomFileName()), FileMode.CreateNew, FileAccess.Write, FileShare.None, 1, FileOptions.DeleteOnClose).Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new Failure(
                $"{named} cannot be written: no file can be made in {nearest}. Check its permissions, or give another place.",
                $"{named} に書き込めません。{nearest} にファイルを作れません。権限を確かめるか、別の場所を指定してください。");
        }
    }
}
