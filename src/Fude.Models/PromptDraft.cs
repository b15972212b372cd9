using System.Text;

namespace Fude.Models;

/// <summary>A conversation as a model is trained on it: the prompts of generation with the answers behind them.</summary>
/// <param name="Text">The text, special tokens written out where the format has them.</param>
/// <param name="AddSpecialTokens">Whether the tokenizer adds its own special tokens too (transformers' add_special_tokens).</param>
/// <param name="Answers">One range of the text, in UTF-16 units, for each turn: what the model is to write there, with what the format
/// ends an answer with. What stands before such a range is, for the last turn, the prompt that generation gives.</param>
public sealed record AnsweredPrompt(string Text, bool AddSpecialTokens, IReadOnlyList<(int Start, int End)> Answers);

/// <summary>A prompt while it is written: its text, and which parts of it are answers.</summary>
/// <param name="Begin">What begins a text, for formats that take it from the tokenizer; empty for none.</param>
/// <param name="End">What ends an answer, likewise.</param>
internal sealed record PromptDraft(string Begin, string End)
{
    private readonly StringBuilder _text = new();
    private readonly List<(int Start, int End)> _answers = [];

    public IReadOnlyList<(int Start, int End)> Answers => _answers;

    public string Text => _text.ToString();

    /// <summary>What the model is given.</summary>
    public PromptDraft Add(string? text)
    {
        _text.Append(text);
        return this;
    }

    /// <summary>What the model is to write.</summary>
    public PromptDraft Answer(string text)
    {
        _answers.Add((_text.Length, _text.Length + text.Length));
        return Add(text);
    }
}
