using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Pieces;

/// <summary>
/// (left symbol, right symbol) → what BPE does with them: a rule, nothing, or <see cref="Adjacent"/>: no rule for the two by themselves,
/// but some piece has one beside the other. One 8-byte slot for each pair, so a look-up is mostly one cache line.
/// </summary>
internal sealed class PairTable
{
    internal const int None = -1;

    /// <summary>The two stand side by side inside some piece, so a merge may come to cross the gap between them.</summary>
    internal const int Adjacent = -2;

    private const int SymbolBits = 21, RuleBits = 22;
    private const int AdjacentCode = (1 << RuleBits) - 1;
    private const ulong Empty = ulong.MaxValue;

    internal const int MaxSymbols = (1 << SymbolBits) - 1;
    internal const int MaxRules = AdjacentCode - 1;

    private ulong[] _slots;
    private int _mask, _shift, _count;

    internal PairTable(int expected)
    {
        _slots = [];
        Resize(Math.Max(16, expected * 2));
    }

    /// <summary>The rule for a pair, <see cref="Adjacent"/> or <see cref="None"/>. Symbols may be negative: those have no pairs.</summary>
    internal int this[int left, int right]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if ((left | right) < 0) return None;
            ulong key = ((ulong)(uint)left << SymbolBits) | (uint)right;
            ulong[] slots = _slots;
            for (int at = Slot(key); ; at = (at + 1) & _mask)
            {
                ulong slot = slots[at];
                if (slot >> RuleBits == key) return Decode((int)(slot & AdjacentCode));
                if (slot == Empty) return None;
            }
        }
    }

    /// <summary>Sets the rule of a pair; the last one counts.</summary>
    internal void Set(int left, int right, int rule)
    {
        if (rule > MaxRules || left > MaxSymbols - 1 || right > MaxSymbols - 1)
            throw new NotSupportedException(Say(
                string.Create(CultureInfo.InvariantCulture, $"A BPE with more than {MaxRules} merges or {MaxSymbols} symbols; fude supports up to that."),
                string.Create(CultureInfo.InvariantCulture, $"マージが {MaxRules} 個、または記号が {MaxSymbols} 個を超える BPE には対応していません。")));
        Put(left, right, rule, replace: true);
    }

    /// <summary>Notes that two symbols stand side by side in some piece.</summary>
    internal void SetAdjacent(int left, int right) => Put(left, right, AdjacentCode, replace: false);

    private static int Decode(int rule) => rule == AdjacentCode ? Adjacent : rule;

    private void Put(int left, int right, int code, bool replace)
    {
        if (_count * 2 >= _slots.Length) Resize(_slots.Length * 2);
        ulong key = ((ulong)(uint)left << SymbolBits) | (uint)right;
        int at = Slot(key);
        while (_slots[at] != Empty && _slots[at] >> RuleBits != key) at = (at + 1) & _mask;
        if (_slots[at] == Empty) _count++;
        else if (!replace) return;
        _slots[at] = (key << RuleBits) | (uint)code;
    }

    private void Resize(int length)
    {
        ulong[] old = _slots;
        int size = (int)BitOperations.RoundUpToPowerOf2((uint)length);
        _slots = new ulong[size];
        Array.Fill(_slots, Empty);
        _mask = size - 1;
        _shift = 64 - BitOperations.Log2((uint)size);
        foreach (ulong slot in old)
        {
            if (slot == Empty) continue;
            int at = Slot(slot >> RuleBits);
            while (_slots[at] != Empty) at = (at + 1) & _mask;
            _slots[at] = slot;
        }
    }

    // Fibonacci hashing: the high bits of the product are well mixed.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Slot(ulong key) => (int)((key * 0x9E3779B97F4A7C15UL) >> _shift);
}
