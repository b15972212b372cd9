namespace Fude.Training;

/// <summary>A question and its answer within a dialogue.</summary>
/// <param name="Question">What was asked or said.</param>
/// <param name="Answer">What the model is to say.</param>
/// <param name="IsTrained">Whether it is learnt; otherwise it is there for what follows.</param>
public readonly record struct DialogueTurn(string Question, string Answer, bool IsTrained = true);

/// <summary>One conversation of instruction data.</summary>
/// <param name="Turns">One or more.</param>
/// <param name="System">What the model is told about its task; null where nothing is said.</param>
/// <param name="Input">What the last turn's instruction is about, where the data keep it apart.</param>
/// <param name="File">Where it was read.</param>
/// <param name="Line">Its line there, from 1.</param>
/// <param name="Fingerprint">Of the record it was read from, the same for all dialogues of it: 8 bytes of a SHA-256.</param>
public sealed record Dialogue(IReadOnlyList<DialogueTurn> Turns, string? System, string? Input, string File, long Line, ulong Fingerprint = 0)
{
    internal static ulong FingerprintOf(string record) =>
        global::System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(global::System.Security.Cryptography.SHA256.HashData(global::System.Text.Encoding.UTF8.GetBytes(record)));

    /// <summary>Whether it belongs to a share that is held out, from 0 to 1: a function of its record alone.</summary>
    public bool IsHeldOut(double share) => Fingerprint / Math.Pow(2, 64) < share;
}
