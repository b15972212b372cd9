using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Fude.Tokenizers.Pieces;

/// <summary>
/// A set of strings with values, walked one UTF-16 unit at a time: a double array (Aoe, 1989) whose units are the characters that the
/// strings really have, numbered by frequency. A Japanese character is one step, where a trie of UTF-8 takes three.
/// </summary>
internal sealed class PieceTrie
{
    internal const int Root = 0;
    internal const int NoValue = -1;

    /// <summary>Character → its number, 0 for those in no string. Two strings never share a slot, so 0 leads nowhere.</summary>
    private readonly ushort[] _numbers = new ushort[char.MaxValue + 1];
    private readonly Node[] _nodes;

    /// <summary>Builds the trie.</summary>
    /// <param name="pieces">Strings and their values (not negative); empty strings are left out; of equal strings the first counts.</param>
    internal PieceTrie(IEnumerable<(string Text, int Value)> pieces)
    {
        // Plain loops and one sort of objects: this runs once for each start, before any of it is compiled well.
        List<Key> keys = [];
        int[] counts = new int[char.MaxValue + 1];
        foreach ((string text, int value) in pieces)
        {
            if (text.Length == 0 || text.Contains('\uFFFF')) continue;
            foreach (char c in text) counts[c]++;
            keys.Add(new(text, value, keys.Count));
        }
        // 65,535 numbers for 65,536 units: U+FFFF is no character, and strings with it are left out.
        int distinct = 0;       // each as one number that sorts by how often it comes, and tells which it is
        for (int c = 0; c < counts.Length; c++)
            if (counts[c] > 0) counts[distinct++] = (int)Math.Min((uint)counts[c], short.MaxValue) << 16 | c;
        Span<int> frequent = counts.AsSpan(0, distinct);
        frequent.Sort();
        ushort number = 0;
        for (int i = distinct - 1; i >= 0; i--) _numbers[frequent[i] & char.MaxValue] = ++number;

        char[] numbered = [];
        foreach (Key key in keys)
        {
            if (numbered.Length < key.Text.Length) numbered = new char[key.Text.Length * 2];
            for (int i = 0; i < key.Text.Length; i++) numbered[i] = (char)_numbers[key.Text[i]];
            key.Text = new string(numbered, 0, key.Text.Length);
        }
        // The first of equal strings stays first.
        keys.Sort(static (x, y) => string.CompareOrdinal(x.Text, y.Text) is not 0 and int order ? order : x.Place - y.Place);
        IsEmpty = keys.Count == 0;
        _nodes = new Builder([.. keys], number).Build();
    }

    internal bool IsEmpty { get; }

    /// <summary>Goes on by one character.</summary>
    /// <returns>False when no string goes on so; <paramref name="node"/> is then unchanged.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal bool Step(char character, ref int node, out int value)
    {
        ref Node nodes = ref MemoryMarshal.GetArrayDataReference(_nodes);
        // In bounds: the builder keeps as many slots behind the last base as there are numbers.
        int next = Unsafe.Add(ref nodes, node).Base + Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(_numbers), character);
        ref Node target = ref Unsafe.Add(ref nodes, next);
        value = target.Value;
        if (target.Parent != node) return false;
        node = next;
        return true;
    }

    /// <summary>The longest string that the text begins with.</summary>
    /// <returns>Its length, or 0.</returns>
    internal int LongestPrefix(ReadOnlySpan<char> text, out int value)
    {
        int node = Root, longest = 0;
        value = NoValue;
        for (int i = 0; i < text.Length && Step(text[i], ref node, out int found); i++)
        {
            if (found == NoValue) continue;
            longest = i + 1;
            value = found;
        }
        return longest;
    }

    /// <summary>The value of exactly this string, or <see cref="NoValue"/>.</summary>
    internal int Find(ReadOnlySpan<char> text)
    {
        int node = Root, value = NoValue;
        foreach (char c in text)
            if (!Step(c, ref node, out value)) return NoValue;
        return text.IsEmpty ? NoValue : value;
    }

    /// <summary>A string and its value.</summary>
    private sealed class Key(string text, int value, int place)
    {
        /// <summary>The string; for the builder, the numbers of its characters.</summary>
        public string Text { get; set; } = text;

        public int Value => value;

        /// <summary>Which of all strings it was.</summary>
        public int Place => place;
    }

    private struct Node
    {
        /// <summary>Children stand at Base + number; a leaf has the base of a place without children.</summary>
        public int Base;
        public int Parent;
        public int Value;
    }

    /// <summary>Places the nodes breadth first; free slots are a doubly linked ring, so that a place is found in a few looks.</summary>
    private sealed class Builder(Key[] keys, int highest)
    {
        // Looks before a node with several children goes to the end: keeps building linear at the cost of a few empty slots.
        private const int MaxLooks = 48;

        private Node[] _nodes = new Node[1024];
        private int[] _next = new int[1024], _previous = new int[1024];
        private int _firstFree = -1;
        private int _used = 1;         // slots up to here are in the ring or taken

        internal Node[] Build()
        {
            Array.Fill(_nodes, FreeNode);
            // A leaf's base must lead nowhere and stay in bounds: 0 does, for the root's children have their own base, never 0 itself,
            // and Parent is compared with the leaf.
            _nodes[Root] = new() { Base = 0, Parent = -1, Value = NoValue };
            Queue<(int Node, int First, int End, int Depth)> open = new();
            open.Enqueue((Root, 0, keys.Length, 0));
            List<(int Number, int First, int End)> children = [];
            while (open.TryDequeue(out (int Node, int First, int End, int Depth) at))
            {
                int first = at.First;
                if (first < at.End && keys[first].Text.Length == at.Depth && at.Depth > 0)
                {
                    _nodes[at.Node].Value = keys[first].Value;
                    while (first < at.End && keys[first].Text.Length == at.Depth) first++;
                }
                if (first == at.End) continue;
                children.Clear();
                for (int i = first; i < at.End;)
                {
                    char c = keys[i].Text[at.Depth];
                    int end = i + 1;
                    while (end < at.End && keys[end].Text[at.Depth] == c) end++;
                    children.Add((c, i, end));
                    i = end;
                }
                int place = FindPlace(children);
                _nodes[at.Node].Base = place;
                foreach ((int number, int childFirst, int childEnd) in children)
                {
                    Take(place + number);
                    _nodes[place + number] = new() { Base = 0, Parent = at.Node, Value = NoValue };
                    open.Enqueue((place + number, childFirst, childEnd, at.Depth + 1));
                }
            }
            Ensure(_used + highest + 1);
            Array.Resize(ref _nodes, _used + highest + 1);
            return _nodes;
        }

        private int FindPlace(List<(int Number, int First, int End)> children)
        {
            int lowest = children[0].Number, looks = 0;
            for (int free = _firstFree; free >= 0 && looks < MaxLooks; looks++)
            {
                int place = free - lowest;
                if (place > 0 && Fits(place, children)) return place;
                free = _next[free] == _firstFree ? -1 : _next[free];
            }
            return Math.Max(1, _used - lowest);
        }

        private bool Fits(int place, List<(int Number, int First, int End)> children)
        {
            foreach ((int number, _, _) in children)
                if (place + number < _used && _nodes[place + number].Parent != Free) return false;
            return true;
        }

        private const int Free = -2;
        private static readonly Node FreeNode = new() { Base = 0, Parent = Free, Value = NoValue };

        private void Take(int slot)
        {
            while (_used <= slot)
            {
                Ensure(_used + 1);
                _nodes[_used] = FreeNode;
                if (_firstFree < 0)
                {
                    _firstFree = _next[_used] = _previous[_used] = _used;
                }
                else
                {
                    int last = _previous[_firstFree];
                    (_next[last], _previous[_used], _next[_used], _previous[_firstFree]) = (_used, last, _firstFree, _used);
                }
                _used++;
            }
            if (_next[slot] == slot)
            {
                _firstFree = -1;
                return;
            }
            (_next[_previous[slot]], _previous[_next[slot]]) = (_next[slot], _previous[slot]);
            if (_firstFree == slot) _firstFree = _next[slot];
        }

        private void Ensure(int count)
        {
            if (count <= _nodes.Length) return;
            int length = Math.Max(count, _nodes.Length * 2), from = _nodes.Length;
            Array.Resize(ref _nodes, length);
            Array.Resize(ref _next, length);
            Array.Resize(ref _previous, length);
            _nodes.AsSpan(from).Fill(FreeNode);
        }
    }
}
