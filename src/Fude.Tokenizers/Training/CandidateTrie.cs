namespace Fude.Tokenizers.Training;

/// <summary>
/// The pieces of a set by their characters: a double array (Aoe, 1989). The child of node s by character c is node Base(s) + c if its
/// Check is s; node 0 is the root, whose children are at their own numbers.
/// </summary>
internal sealed class CandidateTrie
{
    /// <summary>A place of the double array: 12 bytes that are always needed together.</summary>
    internal struct Node
    {
        internal int Base, Check, Piece;
    }

    // How many free places are tried for a node with several children before it is put at the end.
    private const int Tries = 32;

    private Node[] _nodes;
    private int[] _nextFree, _previousFree;       // while building: a list of the places without a node, in rising order
    private int _firstFree, _lastFree, _end;

    /// <summary>Builds the trie.</summary>
    /// <param name="pieces">Its pieces, in their order.</param>
    /// <param name="alphabet">Above every character number.</param>
    internal CandidateTrie(CandidateSet pieces, int alphabet)
    {
        int size = Math.Max(1024, alphabet * 2 + pieces.Count * 2);
        _nodes = new Node[size];
        _nextFree = new int[size];
        _previousFree = new int[size];
        _firstFree = _lastFree = -1;
        for (int i = 0; i < size; i++) (_nodes[i].Check, _nodes[i].Piece) = (-1, -1);
        LinkFree(alphabet, size);          // the first places are the root and its children

        Stack<(int Node, int First, int End, int Depth)> todo = new();
        List<(int Character, int First, int End)> children = [];
        todo.Push((0, 0, pieces.Count, 0));
        while (todo.TryPop(out (int Node, int First, int End, int Depth) work))
        {
            int first = work.First;
            if (first < work.End && pieces.Length(first) == work.Depth) _nodes[work.Node].Piece = first++;
            children.Clear();
            while (first < work.End)
            {
                int character = pieces.Characters[pieces.Starts[first] + work.Depth], end = first + 1;
                while (end < work.End && pieces.Characters[pieces.Starts[end] + work.Depth] == character) end++;
                children.Add((character, first, end));
                first = end;
            }
            if (children.Count == 0)
            {
                _nodes[work.Node].Base = 0;        // its children would be the root's, whose Check is the root
                if (work.Node == 0) break;
                continue;
            }
            int place = work.Node == 0 ? 0 : FindBase(children, alphabet);
            _nodes[work.Node].Base = place;
            foreach ((int character, int childFirst, int childEnd) in children)
            {
                int child = place + character;
                if (work.Node != 0) Take(child);
                _nodes[child].Check = work.Node;
                todo.Push((child, childFirst, childEnd, work.Depth + 1));
            }
        }

        // Room for a look at any character from any node.
        int used = _nodes.Length;
        while (used > alphabet && _nodes[used - 1].Check < 0) used--;
        Array.Resize(ref _nodes, used + alphabet);
        for (int i = used; i < _nodes.Length; i++) (_nodes[i].Check, _nodes[i].Piece) = (-1, -1);
        _nextFree = _previousFree = [];
    }

    internal ReadOnlySpan<Node> Nodes => _nodes;

    /// <summary>Sets cuts[i] where no piece that occurs in the text holds both of characters i - 1 and i.</summary>
    internal void MarkCuts(ReadOnlySpan<int> text, Span<bool> cuts)
    {
        Node[] nodes = _nodes;
        int reached = 0;
        for (int i = 0; i < text.Length; i++)
        {
            cuts[i] = reached <= i;
            int node = 0;
            for (int k = i; k < text.Length; k++)
            {
                int child = nodes[node].Base + text[k];
                if (nodes[child].Check != node) break;
                node = child;
                if (nodes[node].Piece >= 0 && k >= reached) reached = k + 1;
            }
        }
    }

    private int FindBase(List<(int Character, int First, int End)> children, int alphabet)
    {
        // Every free place is beyond the alphabet, so no base is negative.
        int lowest = children[0].Character;
        int place = _firstFree;
        for (int tries = 0; place >= 0 && (tries < Tries || children.Count == 1); tries++, place = _nextFree[place])
        {
            int candidate = place - lowest;
            bool fits = candidate + children[^1].Character < _nodes.Length;
            for (int i = 1; fits && i < children.Count; i++) fits = IsFree(candidate + children[i].Character, alphabet);
            if (fits) return candidate;
        }

        // After the last place that is taken.
        int end = Math.Max(_end, alphabet);
        int needed = end - lowest + children[^1].Character + 1;
        if (needed > _nodes.Length)
        {
            int before = _nodes.Length;
            int size = (int)Math.Min(Array.MaxLength, Math.Max(before * 3L / 2, needed));
            Array.Resize(ref _nodes, size);
            Array.Resize(ref _nextFree, size);
            Array.Resize(ref _previousFree, size);
            for (int i = before; i < size; i++) (_nodes[i].Check, _nodes[i].Piece) = (-1, -1);
            LinkFree(before, size);
        }
        return end - lowest;
    }

    private bool IsFree(int place, int alphabet) => place >= alphabet && _nodes[place].Check < 0;

    private void LinkFree(int first, int end)
    {
        if (first >= end) return;
        for (int i = first; i < end; i++) (_previousFree[i], _nextFree[i]) = (i - 1, i + 1);
        _previousFree[first] = _lastFree;
        if (_lastFree >= 0) _nextFree[_lastFree] = first;
        else _firstFree = first;
        _nextFree[end - 1] = -1;
        _lastFree = end - 1;
    }

    private void Take(int place)
    {
        (int previous, int next) = (_previousFree[place], _nextFree[place]);
        if (previous >= 0) _nextFree[previous] = next;
        else _firstFree = next;
        if (next >= 0) _previousFree[next] = previous;
        else _lastFree = previous;
        _end = Math.Max(_end, place + 1);
    }
}
