using System.Text.RegularExpressions;

namespace Fude.Training;

/// <summary>What a process that was killed left half written in a run's folder.</summary>
internal static partial class RunLeftovers
{
    /// <summary>Deletes it. Whoever calls this holds the folder's <see cref="RunLock"/>: nobody writes there meanwhile.</summary>
    public static void Clear(string folder)
    {
        foreach (string file in Directory.GetFiles(folder))
            if (Pending().IsMatch(Path.GetFileName(file))) File.Delete(file);
        foreach (string result in (ReadOnlySpan<string>)["model", "adapter"]) WholeFolder.Heal(Path.Combine(folder, result), TrainableModel.IsOfOthers);
        new Checkpoints(Path.Combine(folder, "checkpoints")).Clear();
    }

    // The names under which a run's own files are written before they are renamed.
    [GeneratedRegex(@"^(identity\.json|run\.json|report\.html)\.[0-9a-f]{32}\.tmp$|^reference\.scores\.[a-z0-9]{8}\.[a-z0-9]{3}$", RegexOptions.CultureInvariant)]
    private static partial Regex Pending();
}
