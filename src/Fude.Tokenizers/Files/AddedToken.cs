namespace Fude.Tokenizers.Files;

/// <summary>A token that is looked for in the text before the model sees it.</summary>
/// <param name="Content">The text.</param>
/// <param name="SingleWord">Only where no word character touches it.</param>
/// <param name="TakesLeft">Takes the white space before it too (lstrip).</param>
/// <param name="TakesRight">Takes the white space after it too (rstrip).</param>
/// <param name="Normalized">Is looked for in the normalised text.</param>
/// <param name="Special">Is left out by skip_special_tokens.</param>
internal sealed record AddedToken(string Content, bool SingleWord, bool TakesLeft, bool TakesRight, bool Normalized, bool Special)
{
    /// <summary>A special token known by its text only.</summary>
    internal static AddedToken OfSpecial(string content) => new(content, false, false, false, Normalized: false, Special: true);

    /// <summary>Reads {"content": …, "lstrip": …}; what is not said is false, but normalized is what special is not.</summary>
    internal static AddedToken Read(JsonPart part, bool special)
    {
        special |= part.Boolean("special", false);
        return new(
            part.Get("content").Text(), part.Boolean("single_word", false), part.Boolean("lstrip", false), part.Boolean("rstrip", false),
            part.Boolean("normalized", !special), special);
    }

    /// <summary>Reads a token that is a string or an object.</summary>
    internal static AddedToken ReadSpecial(JsonPart part) => part.IsString ? OfSpecial(part.Text()) : Read(part, special: true);
}
