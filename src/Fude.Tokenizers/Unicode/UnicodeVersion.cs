namespace Fude.Tokenizers.Unicode;

/// <summary>
/// Which characters normalisation knows. What an assigned character normalises to never changes, so versions differ only in the
/// characters they know; those that a version does not know are left as they are.
/// </summary>
internal enum UnicodeVersion
{
    /// <summary>
    /// 9.0.0, which Hugging Face's tokenizers know (their crate unicode-normalization-alignments 0.1.12): ㋿, of 12.1, stays ㋿ there.
    /// </summary>
    Unicode9,

    /// <summary>15.0.0, all that the tables hold: NFKC makes ㋿ 令和.</summary>
    Unicode15,
}
