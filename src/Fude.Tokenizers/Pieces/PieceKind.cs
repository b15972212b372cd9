namespace Fude.Tokenizers;

/// <summary>What a vocabulary entry is, as SentencePiece and GGUF tell them apart (and with their numbers).</summary>
public enum PieceKind
{
    /// <summary>An ordinary piece of text.</summary>
    Normal = 1,

    /// <summary>Stands for text that the vocabulary does not have.</summary>
    Unknown = 2,

    /// <summary>A control symbol such as &lt;s&gt;: never made of text by SentencePiece.</summary>
    Control = 3,

    /// <summary>A symbol added by the user: always one token where it stands in the text.</summary>
    UserDefined = 4,

    /// <summary>In the vocabulary, but not to be produced.</summary>
    Unused = 5,

    /// <summary>One byte, for characters that the vocabulary does not have: &lt;0x00&gt; to &lt;0xFF&gt;.</summary>
    Byte = 6,
}
