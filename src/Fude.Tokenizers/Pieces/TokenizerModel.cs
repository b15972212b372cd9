namespace Fude.Tokenizers;

/// <summary>How a tokenizer cuts text into pieces.</summary>
public enum TokenizerModel
{
    /// <summary>The segmentation of greatest probability (Kudo, 2018).</summary>
    Unigram,

    /// <summary>Pairs merged in the order of a list (Sennrich et al., 2016), characters being the smallest parts.</summary>
    Bpe,

    /// <summary>BPE whose smallest parts are the bytes of UTF-8, written as 256 printable characters (GPT-2).</summary>
    ByteLevelBpe,
}
