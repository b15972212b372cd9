using Fude.Models;
using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Generation;

/// <summary>Greedy search and sampling: each text takes one token a step.</summary>
internal sealed class SampleDecoding : Decoding
{
    private readonly Row[] _rows;
    private readonly TokenDraw? _draw;
    private readonly KeptText? _kept;
    private int _unfinished;

    public SampleDecoding(DecodingRequest request, LanguageModel model, IOps ops, KeptText? kept) : base(request, model, ops, kept)
    {
        _kept = kept;
        int each = Settings.NumReturnSequences;
        _rows = [.. Enumerable.Range(0, Texts.Length * each).Select(i => new Row(i / each, Texts[i / each]))];
        _unfinished = _rows.Length;
        if (Settings.DoSample) _draw = TokenDraw.Create(Settings, _rows.Length, Vocabulary);
    }

    public override bool IsDone => _unfinished == 0;

    public override IReadOnlyList<DecodedSequence> Result => [.. _rows.Select(row => row.ToResult() with { KnownPromptTokens = KnownOf(row.Prompt) })];

    protected override void PlanStep(BatchBuilder batch)
    {
        foreach (Row row in _rows)
            if (row.Finish is null) batch.Add(row.Tokens.AsSpan(row.Length - 1, 1), row.Cache!, extent: 0, wantsLogits: true);
    }

    public override void Accept(ReadOnlySpan<float> logits, DecodingScratch scratch)
    {
        _draw?.BeginStep();
        bool first = _rows[0].Cache is null && _rows[0].Finish is null;      // then rows of one prompt share its logits
        int next = 0;
        for (int i = 0; i < _rows.Length; i++)
        {
            Row row = _rows[i];
            if (row.Finish is not null)
            {
                _draw?.Skip(i);
                continue;
            }
            int place = first ? row.Prompt : next++;
            int token = Choose(i, row, logits.Slice(place * Vocabulary, Vocabulary), scratch);
            row.Add(token);
            bool stopped = Request.OnToken?.Invoke(i, row.Prompt, token) ?? false;
            if (stopped || row.Settings.IsEos(token)) row.Finish = FinishReason.Stop;
            else if (row.Length == row.Settings.MaxLength) row.Finish = FinishReason.Length;
            if (row.Finish is not null) _unfinished--;
        }
        if (IsDone) Keep();
        if (first) HandOutCaches();
        foreach (Row row in _rows)
            if (row.Finish is not null) row.Release();
    }

    private int Choose(int index, Row row, ReadOnlySpan<float> raw, DecodingScratch scratch)
    {
        GenerationSettings settings = row.Settings;
        RequireValid(raw, settings);
        ReadOnlySpan<float> logits = raw[..Choosable];
        if (!LogitsProcessors.AreNone(settings))
        {
            Span<float> processed = scratch.Logits.AsSpan(0, Choosable);
            logits.CopyTo(processed);
            scratch.Processors.Apply(settings, processed, row.Tokens.AsSpan(0, row.Length), row.PromptLength);
            logits = processed;
        }
        int token;
        if (_draw is null)
        {
            token = VectorMath.ArgMax(logits);
            if (token < 0) throw NothingLeft(row);
        }
        else
        {
            Candidates candidates = scratch.Candidates;
            if (!candidates.Warp(logits, settings)) throw NothingLeft(row);
            token = candidates.Ids[_draw.Draw(index, candidates.Ids, candidates.Probabilities())];
        }
        if (settings.LogProbabilities) row.Report(raw, token);
        return token;
    }

    private static InvalidOperationException NothingLeft(Row row) => new(Say(
        $"After {row.Length - row.PromptLength} new tokens every token is forbidden: bad words, suppressed tokens, " +
        "no_repeat_ngram_size or min_new_tokens leave nothing to write.",
        $"新しいトークン {row.Length - row.PromptLength} 個の後ではすべてのトークンが禁止されています。" +
        "禁止語、抑制トークン、no_repeat_ngram_size、min_new_tokens のため、書けるものが残りません。"));

    /// <summary>The first text of a prompt goes on with its cache, the others with copies that share its pages.</summary>
    private void HandOutCaches()
    {
        KvCache? shared = null;
        int prompt = -1;
        foreach (Row row in _rows)
        {
            if (row.Finish is not null) continue;
            if (row.Prompt == prompt)
            {
                row.Cache = shared!.Fork();
                continue;
            }
            prompt = row.Prompt;
            row.Cache = shared = Caches[prompt];
            Caches[prompt] = null;
        }
        base.Dispose();      // those of prompts whose texts have all ended
    }

    /// <summary>A request of one text leaves it behind, also when it was given up half-way; not one that was given up before it read a
    /// token.</summary>
    private void Keep()
    {
        if (_kept is null || _rows.Length > 1) return;
        Row row = _rows[0];
        if ((row.Cache ?? Caches[0]) is not { } cache || cache.Length == KnownOf(0)) return;
        _kept.Keep(row.Tokens.AsSpan(Texts[0].Padding), cache);
        row.Cache = Caches[0] = null;
    }

    public override void Dispose()
    {
        Keep();
        base.Dispose();
        foreach (Row row in _rows) row.Release();
    }

    /// <summary>One text: prompt and new tokens in one array, and the keys and values of all but the last.</summary>
    private sealed class Row
    {
        private readonly List<float>? _logProbabilities;
        private readonly List<TokenLogProbability[]>? _top;

        public Row(int prompt, Prompt text)
        {
            (Prompt, Settings, PromptLength, Length) = (prompt, text.Settings, text.History.Length, text.History.Length);
            Tokens = new int[text.Settings.MaxLength];
            text.History.CopyTo(Tokens, 0);
            if (Settings.LogProbabilities) _logProbabilities = [];
            if (Settings.TopLogProbabilities > 0) _top = [];
        }

        public int Prompt { get; }
        public GenerationSettings Settings { get; }
        public int PromptLength { get; }
        public int[] Tokens { get; }
        public int Length { get; private set; }
        public KvCache? Cache { get; set; }
        public FinishReason? Finish { get; set; }

        public void Add(int token) => Tokens[Length++] = token;

        public void Report(ReadOnlySpan<float> raw, int token)
        {
            double sum = VectorMath.LogSumExp(raw);
            _logProbabilities!.Add((float)(raw[token] - sum));
            _top?.Add(Largest(raw, Settings.TopLogProbabilities, sum));
        }

        public void Release()
        {
            Cache?.Dispose();
            Cache = null;
        }

        public DecodedSequence ToResult() => new()
        {
            Prompt = Prompt,
            Ids = Tokens[PromptLength..Length],
            Finish = Finish ?? FinishReason.Length,
            LogProbabilities = _logProbabilities?.ToArray(),
            TopLogProbabilities = _top?.ToArray(),
        };

        private static TokenLogProbability[] Largest(ReadOnlySpan<float> logits, int count, double sum)
        {
            TokenLogProbability[] top = new TokenLogProbability[Math.Min(count, logits.Length)];
            int filled = 0;
            for (int i = 0; i < logits.Length; i++)
            {
                if (filled == top.Length && logits[i] <= top[^1].LogProbability) continue;
                int place = filled < top.Length ? filled++ : filled - 1;
                for (; place > 0 && top[place - 1].LogProbability < logits[i]; place--) top[place] = top[place - 1];
                top[place] = new(i, logits[i]);
            }
            foreach (ref TokenLogProbability entry in top.AsSpan())
                entry = entry with { LogProbability = (float)(entry.LogProbability - sum) };
            return top;
        }
    }
}
