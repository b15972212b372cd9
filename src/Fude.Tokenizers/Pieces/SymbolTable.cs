namespace Fude.Tokenizers.Pieces;

/// <summary>Character → symbol number, -1 where a character has none.</summary>
internal sealed class SymbolTable
{
    private readonly int[] _basic = new int[char.MaxValue + 1];
    private readonly Dictionary<int, int> _astral = [];

    internal SymbolTable() => Array.Fill(_basic, -1);

    /// <summary>The symbol of a character of the basic plane.</summary>
    internal int this[char character] => _basic[character];

    /// <summary>The symbol of any character.</summary>
    internal int Of(int codePoint) => codePoint <= char.MaxValue ? _basic[codePoint] : _astral.GetValueOrDefault(codePoint, -1);

    /// <summary>Gives a character its symbol, unless it has one.</summary>
    internal void TryAdd(int codePoint, int symbol)
    {
        if (codePoint > char.MaxValue) _astral.TryAdd(codePoint, symbol);
        else if (_basic[codePoint] < 0) _basic[codePoint] = symbol;
    }
}
