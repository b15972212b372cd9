using Fude.Models;
using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Generation;

/// <summary>Beam search, drawing or not, alone or in groups that avoid one another: the best few texts are carried on side by
/// side.</summary>
/// <remarks>
/// Groups: Vijayakumar et al., "Diverse Beam Search", 2016, arXiv:1610.02424. Penalties and warpers act on log-probabilities here, and a
/// beam's score is their sum. Every step takes so many candidates that enough are left when all that can end a text do.
/// </remarks>
internal sealed class BeamDecoding : Decoding
{
    private readonly Search[] _searches;
    private readonly TokenDraw? _draw;

    public BeamDecoding(DecodingRequest request, LanguageModel model, IOps ops, KeptText? kept) : base(request, model, ops, kept)
    {
        if (Choosable < (long)Settings.MinTokensToKeep) throw new ArgumentException(Say(
            "There are fewer tokens than a beam search needs.",
            "ビームサーチに必要な数のトークンがありません。"));
        if ((long)Settings.NumBeams * Vocabulary > int.MaxValue)
            throw new ArgumentException(Say(
                $"num_beams {Settings.NumBeams} is too many for a vocabulary of {Vocabulary}.",
                $"num_beams {Settings.NumBeams} は語彙が {Vocabulary} 語のモデルには多すぎます。"));
        _searches = [.. Texts.Select(text => new Search(text, Choosable))];
        if (Settings.DoSample) _draw = TokenDraw.Create(Settings, _searches.Length, Settings.NumBeams * Vocabulary);
    }

    public override bool IsDone => Array.TrueForAll(_searches, search => search.IsDone);

    public override IReadOnlyList<DecodedSequence> Result =>
    [
        .. _searches.SelectMany((search, prompt) => search.Best().Select(best => new DecodedSequence
        {
            Prompt = prompt,
            KnownPromptTokens = KnownOf(prompt),
            Ids = best.Ids,
            Finish = best.Finish,
            Score = best.Score,
            LogProbabilities = best.LogProbabilities,
        })),
    ];

    protected override void PlanStep(BatchBuilder batch)
    {
        foreach (Search search in _searches)
        {
            if (search.IsDone) continue;
            foreach (Beam beam in search.Beams)
                batch.Add(beam.Tokens.AsSpan(search.Length - 1, 1), beam.Cache!, extent: 0, wantsLogits: true);
        }
    }

    public override void Accept(ReadOnlySpan<float> logits, DecodingScratch scratch)
    {
        _draw?.BeginStep();
        for (int i = 0; i < _searches.Length; i++)
        {
            Search search = _searches[i];
            if (search.IsDone)
            {
                _draw?.Skip(i);
                continue;
            }
            bool first = Caches[i] is not null;      // then all beams share the prompt's logits and its cache
            int rows = first ? 1 : search.Beams.Length;
            ReadOnlySpan<float> own = logits[..(rows * Vocabulary)];
            logits = logits[own.Length..];
            RequireValid(own, Settings);
            if (first)
            {
                search.Beams[0].Cache = Caches[i];
                Caches[i] = null;
            }
            search.Step(own, Vocabulary, scratch, _draw, i);
            if (!search.IsDone && Request.BeamHasStopped is { } hasStopped && search.AllBeams(i, hasStopped)) search.End(FinishReason.Stop);
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        foreach (Search search in _searches) search.Release();
    }

    /// <summary>One running text.</summary>
    private sealed class Beam(int capacity, bool reports)
    {
        public int[] Tokens { get; } = new int[capacity];
        public float[]? LogProbabilities { get; } = reports ? new float[capacity] : null;
        public float Score { get; set; }
        public KvCache? Cache { get; set; }
    }

    /// <summary>A token that may follow a beam.</summary>
    private readonly record struct Candidate(float Score, int Beam, int Token);

    /// <summary>The beams of one prompt.</summary>
    private sealed class Search
    {
        private const float Never = -1e9f;      // the score of a beam that has not begun

        private readonly GenerationSettings _settings;
        private readonly int _choosable, _promptLength, _groupSize;
        private readonly BeamHypotheses[] _groups;
        private readonly bool[] _done;
        private readonly List<Candidate> _candidates = [];
        private readonly int[] _parents, _chosen;
        private readonly float[] _modelLogSums;
        private Beam[] _next;

        public Search(Prompt text, int choosable)
        {
            _settings = text.Settings;
            _choosable = choosable;
            _promptLength = Length = text.History.Length;
            int beams = _settings.NumBeams, groups = _settings.NumBeamGroups;
            _groupSize = beams / groups;
            _groups = [.. Enumerable.Range(0, groups).Select(_ =>
                new BeamHypotheses(_groupSize, _settings, _settings.MaxLength - _promptLength))];
            _done = new bool[groups];
            _parents = new int[beams];
            _chosen = new int[beams];
            _modelLogSums = new float[beams];
            Beams = [.. Enumerable.Range(0, beams).Select(_ => new Beam(_settings.MaxLength, _settings.LogProbabilities))];
            _next = [.. Enumerable.Range(0, beams).Select(_ => new Beam(_settings.MaxLength, _settings.LogProbabilities))];
            for (int i = 0; i < beams; i++)
            {
                text.History.CopyTo(Beams[i].Tokens, 0);
                // Only the first beam of a group begins: all are the same text, and would go on in the same way.
                Beams[i].Score = i % _groupSize == 0 ? 0 : Never;
            }
        }

        public Beam[] Beams { get; private set; }
        public int Length { get; private set; }
        public bool IsDone { get; private set; }

        /// <summary>Lets every beam go on by one token.</summary>
        /// <param name="logits">[1 or beams, vocabulary].</param>
        /// <param name="vocabulary">Numbers of a row.</param>
        /// <param name="scratch">Working memory.</param>
        /// <param name="draw">Draws the candidates; null takes the best.</param>
        /// <param name="row">Which row the draw is for.</param>
        public void Step(ReadOnlySpan<float> logits, int vocabulary, DecodingScratch scratch, TokenDraw? draw, int row)
        {
            bool shared = logits.Length == vocabulary;
            for (int i = 0; i < Beams.Length; i++)
                _modelLogSums[i] = shared && i > 0 ? _modelLogSums[0]
                    : (float)VectorMath.LogSumExp(logits.Slice(i * vocabulary, vocabulary));
            for (int group = 0; group < _groups.Length; group++)
            {
                Span<Beam> beams = Beams.AsSpan(group * _groupSize, _groupSize);
                if (_done[group])
                {
                    // It goes on as padding; the groups after it take the pads for its choice, as in the reference.
                    int pad = _settings.PadToken is int id && (uint)id < (uint)vocabulary ? id : _settings.EosTokens.FirstOrDefault();
                    for (int i = 0; i < _groupSize; i++) Choose(group, i, new Candidate(0, group * _groupSize, pad));
                    continue;
                }
                int keep = Math.Max(2, 1 + _settings.EosTokens.Length) * _groupSize;
                _candidates.Clear();
                for (int i = group * _groupSize; i < (group + 1) * _groupSize; i++)
                {
                    Span<float> scores = scratch.Logits.AsSpan(0, _choosable);
                    logits.Slice(shared ? 0 : i * vocabulary, _choosable).CopyTo(scores);
                    VectorMath.Add(scores, -_modelLogSums[i]);
                    scratch.Processors.Apply(_settings, scores, Beams[i].Tokens.AsSpan(0, Length), _promptLength,
                        _chosen.AsSpan(0, group * _groupSize));
                    if (draw is null) AddBest(scores, i, keep, scratch.Selection);
                    else AddAll(scores, i, scratch.Candidates);
                }
                if (draw is not null) Draw(draw, row, vocabulary, keep);
                FillUp(group, keep);
                _candidates.Sort(BestFirst);
                Select(group, keep, logits, vocabulary, shared);
            }
            Advance(logits, vocabulary, shared);
            if (Array.TrueForAll(_done, done => done)) End(FinishReason.Stop);
            else if (Length == _settings.MaxLength) End(FinishReason.Length);
        }

        /// <summary>The search is over: running beams become finished texts, unless their group was done before.</summary>
        public void End(FinishReason finish)
        {
            for (int i = 0; i < Beams.Length; i++)
            {
                int group = i / _groupSize;
                Beam beam = Beams[i];
                if (_done[group] || float.IsNegativeInfinity(beam.Score)) continue;
                _groups[group].Add(new(_groups[group].Score(beam.Score, Length - _promptLength), beam.Tokens[_promptLength..Length],
                    beam.LogProbabilities?[_promptLength..Length], finish));
            }
            IsDone = true;
            Release();
            if (_groups.Sum(group => group.Kept.Count) == 0)
                throw new InvalidOperationException(Say(
                    $"After {Length - _promptLength} new tokens every token is forbidden, and no beam has ended before.",
                    $"新しいトークン {Length - _promptLength} 個の後ではすべてのトークンが禁止されており、それまでに終わったビームもありません。"));
        }

        /// <summary>The best texts of all groups; of equals the one found last.</summary>
        public IEnumerable<BeamHypothesis> Best() =>
            _groups.SelectMany(group => group.Kept).OrderBy(hypothesis => hypothesis.Score).Reverse().Take(_settings.NumReturnSequences);

        public bool AllBeams(int prompt, Func<int, ReadOnlyMemory<int>, bool> hasStopped) =>
            Array.TrueForAll(Beams, beam => hasStopped(prompt, beam.Tokens.AsMemory(_promptLength, Length - _promptLength)));

        public void Release()
        {
            foreach (Beam beam in Beams)
            {
                beam.Cache?.Dispose();
                beam.Cache = null;
            }
        }

        private static int BestFirst(Candidate a, Candidate b) =>
            a.Score != b.Score ? b.Score.CompareTo(a.Score) : a.Beam != b.Beam ? a.Beam - b.Beam : a.Token - b.Token;

        private void AddBest(ReadOnlySpan<float> scores, int beam, int keep, Selection selection)
        {
            float threshold = selection.KthLargest(scores, keep);
            for (int token = 0; token < scores.Length; token++)
                if (scores[token] >= threshold && !float.IsNegativeInfinity(scores[token]))
                    _candidates.Add(new(scores[token] + Beams[beam].Score, beam, token));
        }

        private void AddAll(ReadOnlySpan<float> scores, int beam, Candidates candidates)
        {
            if (!candidates.Warp(scores, _settings)) return;
            for (int i = 0; i < candidates.Ids.Length; i++)
                _candidates.Add(new(candidates.Logits[i] + Beams[beam].Score, beam, candidates.Ids[i]));
        }

        /// <summary>Leaves some of the candidates of all beams, drawn by their scores.</summary>
        private void Draw(TokenDraw draw, int row, int vocabulary, int keep)
        {
            int[] places = [.. _candidates.Select(c => c.Beam * vocabulary + c.Token)];
            float[] p = [.. _candidates.Select(c => c.Score)];
            VectorMath.Divide(p, (float)VectorMath.ExpSum(p, VectorMath.Max(p), p));
            int[] drawn = new int[Math.Min(keep, p.Length)];
            draw.DrawSeveral(row, places, p, drawn);
            Candidate[] left = [.. drawn.Select(place => _candidates[place])];
            _candidates.Clear();
            _candidates.AddRange(left);
        }

        /// <summary>Where hardly any token is allowed, forbidden ones fill the beams; their scores keep them from coming out.</summary>
        private void FillUp(int group, int keep)
        {
            for (int i = 0; _candidates.Count < keep; i++)
                if (!_settings.IsEos(i % _choosable))
                    _candidates.Add(new(float.NegativeInfinity, group * _groupSize + i / _choosable % _groupSize, i % _choosable));
        }

        /// <summary>Of the best candidates, those that end a text are finished, the others are the beams of the next step.</summary>
        private void Select(int group, int keep, ReadOnlySpan<float> logits, int vocabulary, bool shared)
        {
            int filled = 0, newTokens = Length + 1 - _promptLength;
            for (int rank = 0; rank < keep && filled < _groupSize; rank++)
            {
                Candidate candidate = _candidates[rank];
                if (!_settings.IsEos(candidate.Token))
                {
                    Choose(group, filled++, candidate);
                    continue;
                }
                if (rank >= _groupSize) continue;      // better than none, but not among the best
                Beam beam = Beams[candidate.Beam];
                // The sequence ends with the first id of the eos list, whichever was chosen.
                int[] ids = [.. beam.Tokens.AsSpan(_promptLength, Length - _promptLength), _settings.EosTokens[0]];
                float[]? reports = beam.LogProbabilities is null ? null
                    : [.. beam.LogProbabilities.AsSpan(_promptLength, Length - _promptLength),
                        LogProbability(candidate, logits, vocabulary, shared)];
                _groups[group].Add(new(_groups[group].Score(candidate.Score, newTokens), ids, reports, FinishReason.Stop));
            }
            // With no allowed token left, what is finished is all there is.
            _done[group] |= _groups[group].IsDone(_candidates[0].Score, newTokens) || float.IsNegativeInfinity(_candidates[0].Score);
        }

        private void Choose(int group, int place, Candidate candidate)
        {
            int i = group * _groupSize + place;
            (_parents[i], _chosen[i], _next[i].Score) = (candidate.Beam, candidate.Token, candidate.Score);
        }

        private float LogProbability(Candidate candidate, ReadOnlySpan<float> logits, int vocabulary, bool shared) =>
            logits[(shared ? 0 : candidate.Beam * vocabulary) + candidate.Token] - _modelLogSums[candidate.Beam];

        /// <summary>Lengthens the beams: texts are copied, caches move or fork.</summary>
        private void Advance(ReadOnlySpan<float> logits, int vocabulary, bool shared)
        {
            for (int i = 0; i < _next.Length; i++)
            {
                Beam parent = Beams[_parents[i]], next = _next[i];
                parent.Tokens.AsSpan(0, Length).CopyTo(next.Tokens);
                next.Tokens[Length] = _chosen[i];
                if (next.LogProbabilities is { } reports)
                {
                    parent.LogProbabilities.AsSpan(0, Length).CopyTo(reports);
                    reports[Length] = LogProbability(new(0, _parents[i], _chosen[i]), logits, vocabulary, shared);
                }
            }
            for (int i = 0; i < _next.Length; i++)
            {
                // The last heir takes the cache itself. At the first step beam 0 alone has one, and all are its heirs.
                int parent = shared ? 0 : _parents[i];
                bool last = true;
                for (int j = i + 1; j < _next.Length && last; j++) last = (shared ? 0 : _parents[j]) != parent;
                _next[i].Cache = last ? Beams[parent].Cache : Beams[parent].Cache!.Fork();
                if (last) Beams[parent].Cache = null;
            }
            Release();
            (Beams, _next) = (_next, Beams);
            Length++;
        }
    }
}
