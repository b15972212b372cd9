using Fude.Models;
using Fude.Tensors;

namespace Fude.Generation.Tests;

public sealed class EngineTests
{
    private static readonly GenerationOptions NoEnd = new() { EosTokenId = [], MaxNewTokens = 12 };

    /// <summary>Greedy, drawn, penalised, beamed, several texts a prompt, several prompts a request.</summary>
    private static readonly (int[][] Prompts, GenerationOptions Options)[] Requests =
    [
        ([[66, 124, 278, 78, 38]], NoEnd with { LogProbabilities = true, TopLogProbabilities = 3 }),
        ([[104]], NoEnd with { DoSample = true, Seed = 1, LogProbabilities = true }),
        ([[9, 237, 259, 140, 32, 115, 142, 145, 40]], NoEnd with { DoSample = true, Seed = 2, TopP = 0.9, TopK = 0, Temperature = 1.3 }),
        ([[245, 261]], NoEnd with { NumBeams = 3, NumReturnSequences = 2, LogProbabilities = true }),
        ([[38, 255, 89, 215, 305]], NoEnd with { DoSample = true, NumReturnSequences = 3, Seed = 3, RepetitionPenalty = 1.3 }),
        ([[5, 6], [7, 8, 9, 10, 11, 12, 13]], NoEnd with { DoSample = true, TorchSeed = 23, MaxNewTokens = 5 }),
        ([[200, 201, 202]], NoEnd with { NumBeams = 2, DoSample = true, Seed = 4, MaxNewTokens = 7 }),
        ([[1, 2, 3, 4]], NoEnd with { EosTokenId = [3, 19, 35, 51, 67, 83], NumBeams = 4, NumBeamGroups = 2, DiversityPenalty = 0.5 }),
    ];

    [Theory, InlineData("llama-gqa", 1), InlineData("gpt2-gelu", 2)]
    public void A_request_has_the_same_tokens_whatever_else_is_computed_with_it(string name, int threads)
    {
        using TestModel tiny = TestModel.Open(name);
        IReadOnlyList<DecodedSequence>[] alone = [.. Requests.Select(request => tiny.Run(new(request.Prompts, request.Options)))];

        using TestModel shared = TestModel.Open(name, threads);
        for (int round = 0; round < 3; round++)
        {
            Random random = new(round);
            DecodingLoop loop = new(shared.Model, shared.Ops, prefillTokens: random.Next(1, 9));
            int[] arrivals = [.. Requests.Select(_ => random.Next(15))];
            Decoding?[] running = new Decoding?[Requests.Length];
            int finished = 0;
            for (int step = 0; finished < Requests.Length; step++)
            {
                for (int i = 0; i < Requests.Length; i++)
                    if (arrivals[i] == step) loop.Join(running[i] = Decoding.Start(new(Requests[i].Prompts, Requests[i].Options),
                        shared.Model, shared.Ops));
                loop.Step();
                for (int i = 0; i < Requests.Length; i++)
                {
                    if (running[i] is not { IsDone: true } done) continue;
                    AssertSame(alone[i], done.Result);
                    loop.Leave(done);
                    running[i] = null;
                    finished++;
                }
            }
        }
    }

    [Theory, InlineData(false, 1), InlineData(true, 4)]
    public void A_step_allocates_nothing(bool sample, int texts)
    {
        using TestModel tiny = TestModel.Open("llama-gqa");
        GenerationOptions options = NoEnd with
        {
            MaxNewTokens = 100,
            DoSample = sample,
            NumReturnSequences = texts,
            Seed = 5,
            TopK = 0,
            TopP = 0.95,
            RepetitionPenalty = 1.1,
            NoRepeatNgramSize = 4,
            FrequencyPenalty = 0.1,
            BadWordsIds = [[3], [4, 5]],
        };
        DecodingLoop loop = new(tiny.Model, tiny.Ops, 512);
        Decoding decoding = Decoding.Start(new([[66, 124, 278]], options), tiny.Model, tiny.Ops);
        loop.Join(decoding);
        for (int i = 0; i < 40; i++) loop.Step();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 40; i++) loop.Step();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        loop.Leave(decoding);
    }

    [Theory, InlineData("llama-gqa"), InlineData("gpt2-gelu"), InlineData("stablelm")]
    public void A_text_that_begins_as_the_last_one_is_read_from_where_they_part_and_goes_on_alike(string name)
    {
        using TestModel tiny = TestModel.Open(name);
        using KeptText kept = new() { IsWanted = true };
        GenerationOptions options = NoEnd with { LogProbabilities = true, TopLogProbabilities = 2 };
        int[] prompt = [.. Enumerable.Range(1, 40)];
        Assert.Equal(0, Same(prompt, options));
        int[] whole = [.. prompt, .. tiny.Run(new([prompt], options))[0].Ids];
        Assert.Equal(whole.Length - 1, Same([.. whole, 7, 8, 9], options));      // the last token was written, but never read
        Assert.Equal(30, Same([.. whole[..30], 7, 8, 9, 10], options with { DoSample = true, Seed = 3 }));
        Assert.Equal(33, Same([.. whole[..30], 7, 8, 9, 10], options));
        Assert.Equal(29, Same(whole[..30], options));       // some token must be run
        Assert.Equal(20, Same(whole[..21], options with { NumBeams = 3, NumReturnSequences = 2, TopLogProbabilities = null }));
        Assert.Equal(29, Same(whole[..30], options));       // beams leave nothing behind, and take nothing away
        Assert.Equal(0, Same(whole[..10], options));
        tiny.Model.KvCacheFormat = NumberFormat.F16;
        Assert.Equal(0, Same(whole[..30], options));
        Assert.Equal(29, Same(whole[..30], options));
        kept.IsWanted = false;
        Assert.Equal(0, Same(whole[..30], options));
        Assert.Equal(0, Same(whole[..30], options));

        int Same(int[] text, GenerationOptions how)
        {
            IReadOnlyList<DecodedSequence> found = tiny.Run(new([text], how), prefillTokens: 8, kept);
            AssertSame(tiny.Run(new([text], how)), found);
            return found[0].KnownPromptTokens;
        }
    }

    [Fact]
    public void A_text_that_was_given_up_half_way_is_known_as_far_as_it_was_read()
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        using KeptText kept = new() { IsWanted = true };
        int[] prompt = [.. Enumerable.Range(1, 40)];
        DecodingLoop loop = new(tiny.Model, tiny.Ops, prefillTokens: 8);
        Decoding decoding = Decoding.Start(new([prompt], NoEnd), tiny.Model, tiny.Ops, kept);
        loop.Join(decoding);
        for (int i = 0; i < 3; i++) loop.Step();
        loop.Leave(decoding);
        IReadOnlyList<DecodedSequence> found = tiny.Run(new([prompt], NoEnd), kept: kept);
        Assert.Equal(24, found[0].KnownPromptTokens);
        AssertSame(tiny.Run(new([prompt], NoEnd)), found);
    }

    [Fact]
    public void Where_keys_depend_on_the_length_of_the_text_all_of_it_is_read()
    {
        ModelConfig config = ModelConfig.Parse("""
            {"model_type":"llama","vocab_size":128,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,"num_attention_heads":4,
             "max_position_embeddings":32,"rope_scaling":{"type":"dynamic","factor":4}}
            """u8.ToArray());
        Assert.True(config.KeysDependOnLength);
        using LanguageModel model = LanguageModel.Create(config, new RandomWeights(NumberFormat.F32));
        using CpuOps ops = new(1);
        using KeptText kept = new() { IsWanted = true };
        for (int round = 0; round < 2; round++)
        {
            DecodingLoop loop = new(model, ops, 512);
            Decoding decoding = Decoding.Start(new([[.. Enumerable.Range(1, 40)]], NoEnd), model, ops, kept);
            loop.Join(decoding);
            while (!decoding.IsDone) loop.Step();
            Assert.Equal(0, decoding.Result[0].KnownPromptTokens);
            loop.Leave(decoding);
        }
    }

    [Fact]
    public async Task Requests_of_several_callers_each_get_their_own_tokens()
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        IReadOnlyList<DecodedSequence>[] alone = [.. Requests.Select(request => tiny.Run(new(request.Prompts, request.Options)))];
        using Engine engine = new(tiny.Model, tiny.Ops, prefillTokens: 4);
        Task<IReadOnlyList<DecodedSequence>>[] together =
            [.. Requests.Select(request => engine.RunAsync(new(request.Prompts, request.Options), TestContext.Current.CancellationToken))];
        for (int i = 0; i < together.Length; i++) AssertSame(alone[i], await together[i]);
    }

    [Theory, InlineData(NumberFormat.F32, 64), InlineData(NumberFormat.F16, 32), InlineData(NumberFormat.BF16, 32), InlineData(NumberFormat.Q8_0, 17)]
    public void Keys_of_half_a_block_are_kept_in_every_format(NumberFormat format, int bytes)
    {
        using TestModel tiny = TestModel.Open("llama-gqa");
        Assert.Equal(16, tiny.Model.Config.KeyValueWidth);
        tiny.Model.KvCacheFormat = format;
        Assert.Equal(12, tiny.Run(new([[66, 124, 278]], NoEnd))[0].Ids.Length);
        Assert.Equal(2L * tiny.Model.Config.Layers * bytes * 100, tiny.Model.CacheBytes(100));
    }

    [Theory, InlineData(0, 1), InlineData(2, 2), InlineData(100, 8)]
    public async Task What_has_no_room_beside_the_others_waits_for_its_turn(int room, int together)
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        DecodedSequence[] alone = [.. Enumerable.Range(0, 8).Select(i => tiny.Run(new([[66, i]], NoEnd))[0])];
        using Engine engine = new(tiny.Model, tiny.Ops, prefillTokens: 512, room * tiny.Model.CacheBytes(2 + 12));
        using SemaphoreSlim gate = new(0);
        HashSet<int> begun = [];
        int most = 0;
        int[] left = new int[8];
        Task<IReadOnlyList<DecodedSequence>>[] tasks = [.. Enumerable.Range(0, 8).Select(i => engine.RunAsync(
            new([[66, i]], NoEnd)
            {
                OnToken = (_, _, _) =>
                {
                    if (i == 0 && left[0] == 0) gate.Wait();     // until all have come
                    begun.Add(i);
                    most = Math.Max(most, begun.Count);
                    if (++left[i] == 12) begun.Remove(i);
                    return false;
                },
            },
            TestContext.Current.CancellationToken))];
        gate.Release();
        for (int i = 0; i < 8; i++) Assert.Equal(alone[i].Ids, (await tasks[i])[0].Ids);
        // The first step may have begun before the others came.
        Assert.InRange(most, Math.Min(together, 7), together);
    }

    [Fact]
    public async Task Who_waits_can_give_up_at_once()
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        using CancellationTokenSource stop = new();
        Engine engine = new(tiny.Model, tiny.Ops, prefillTokens: 512, cacheBytes: 0);
        using SemaphoreSlim begun = new(0), goOn = new(0);
        Task<IReadOnlyList<DecodedSequence>> first = engine.RunAsync(new([[66]], NoEnd)
        {
            OnToken = (_, _, _) =>
            {
                begun.Release();
                goOn.Wait();
                return false;
            },
        }, TestContext.Current.CancellationToken);
        await begun.WaitAsync(TestContext.Current.CancellationToken);
        Task<IReadOnlyList<DecodedSequence>>[] waiting = [.. Enumerable.Range(0, 3).Select(_ => engine.RunAsync(new([[67]], NoEnd), stop.Token))];
        Task<IReadOnlyList<DecodedSequence>> other = engine.RunAsync(new([[66, 124]], NoEnd), TestContext.Current.CancellationToken);
        await stop.CancelAsync();
        foreach (Task<IReadOnlyList<DecodedSequence>> task in waiting) await Assert.ThrowsAnyAsync<OperationCanceledException>(() => task);
        Assert.False(first.IsCompleted);        // it has stood still all the while
        goOn.Release(12);
        Assert.Equal(12, (await first)[0].Ids.Length);
        Assert.Equal(12, (await other)[0].Ids.Length);

        Task<IReadOnlyList<DecodedSequence>>[] last = [.. Enumerable.Range(0, 3).Select(_ => engine.RunAsync(new([[67]], NoEnd with { MaxNewTokens = 150 }), CancellationToken.None))];
        engine.Dispose();
        foreach (Task<IReadOnlyList<DecodedSequence>> task in last)
            if (!task.IsCompletedSuccessfully) await Assert.ThrowsAnyAsync<OperationCanceledException>(() => task);
    }

    [Fact]
    public async Task The_first_who_waits_costs_the_others_nothing_and_can_give_up_too()
    {
        using TestModel tiny = TestModel.Open("llama-gqa");
        using Engine engine = new(tiny.Model, tiny.Ops, prefillTokens: 512, cacheBytes: 0) { KeepsLastText = true };
        using CancellationTokenSource stop = new();
        CancellationToken none = TestContext.Current.CancellationToken;
        int[] prompt = [.. Enumerable.Range(1, 40)];
        await engine.RunAsync(new([prompt], NoEnd), none);
        using SemaphoreSlim begun = new(0), goOn = new(0);
        int written = 0;
        long before = 0, allocated = -1;
        bool waited = false;
        Task<IReadOnlyList<DecodedSequence>>? waiting = null;
        Task<IReadOnlyList<DecodedSequence>> first = engine.RunAsync(new([[66], [67]], NoEnd with { MaxNewTokens = 60 })
        {
            OnToken = (row, _, _) =>
            {
                if (row > 0) return false;
                if (++written == 1)
                {
                    begun.Release();
                    goOn.Wait();        // the other comes; from the next step on it has its caches, but no room
                }
                if (written == 20) before = GC.GetAllocatedBytesForCurrentThread();
                if (written == 50) allocated = GC.GetAllocatedBytesForCurrentThread() - before;
                if (written == 51)
                {
                    waited = !waiting!.IsCompleted;
                    stop.Cancel();
                }
                return false;
            },
        }, none);
        await begun.WaitAsync(none);
        waiting = engine.RunAsync(new([[5, 6, 7]], NoEnd), stop.Token);
        goOn.Release();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        Assert.Equal([60, 60], (await first).Select(text => text.Ids.Length));
        Assert.True(waited);
        Assert.Equal(0, allocated);
        // It read nothing, so the text before it is still the last.
        Assert.Equal(39, (await engine.RunAsync(new([prompt], NoEnd), none))[0].KnownPromptTokens);
    }

    [Fact]
    public async Task A_request_can_be_given_up_and_the_others_go_on()
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        using Engine engine = new(tiny.Model, tiny.Ops, prefillTokens: 512);
        using CancellationTokenSource stop = new();
        DecodingRequest giveUp = new([[66]], NoEnd with { MaxNewTokens = 150 })
        {
            OnToken = (_, _, _) =>
            {
                stop.Cancel();      // in the middle of its first step
                return false;
            },
        };
        Task<IReadOnlyList<DecodedSequence>> stopped = engine.RunAsync(giveUp, stop.Token);
        Task<IReadOnlyList<DecodedSequence>> other = engine.RunAsync(new([[66, 124]], NoEnd), TestContext.Current.CancellationToken);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => stopped);
        Assert.Equal(12, (await other)[0].Ids.Length);
    }

    /// <summary>Stumbles over a token, in the middle of a pass.</summary>
    private sealed class Stumbling(LanguageModel model, int token) : LanguageModel(new WeightSource(new RandomWeights(NumberFormat.F32)))
    {
        public override ModelConfig Config => model.Config;

        public override Tensor Forward(IOps ops, Batch batch)
        {
            Tensor logits = model.Forward(ops, batch);
            return batch.Tokens.Contains(token) ? throw new InvalidDataException($"stumbled over {token}") : logits;
        }
    }

    [Theory, InlineData(512), InlineData(5)]
    public async Task A_text_that_the_model_cannot_run_disturbs_no_other(int prefillTokens)
    {
        const int Token = 13;
        using TestModel tiny = TestModel.Open("llama-mha");
        using Stumbling model = new(tiny.Model, Token);
        GenerationOptions options = NoEnd with { SuppressTokens = [Token], LogProbabilities = true };
        (int[][] Prompts, GenerationOptions Options)[] good =
        [
            ([[66, 124]], options), ([[.. Enumerable.Range(20, 30)]], options), ([[9, 8], [.. Enumerable.Range(100, 17)]], options with { DoSample = true, Seed = 4 }),
            ([[245, 261, 5]], options with { NumBeams = 3, NumReturnSequences = 2 }),
        ];
        IReadOnlyList<DecodedSequence>[] alone = [.. good.Select(request => tiny.Run(new(request.Prompts, request.Options)))];
        using Engine engine = new(model, tiny.Ops, prefillTokens);
        CancellationToken none = TestContext.Current.CancellationToken;
        List<Task<IReadOnlyList<DecodedSequence>>> goods = [], bads = [];
        foreach ((int[][] prompts, GenerationOptions own) in good)
        {
            goods.Add(engine.RunAsync(new(prompts, own), none));
            bads.Add(engine.RunAsync(new([[.. Enumerable.Range(Token - 4 + bads.Count, 12)]], options), none));
        }
        foreach (Task<IReadOnlyList<DecodedSequence>> bad in bads)
            Assert.Contains("stumbled", (await Assert.ThrowsAsync<InvalidDataException>(() => bad)).Message, StringComparison.Ordinal);
        for (int i = 0; i < good.Length; i++) AssertSame(alone[i], await goods[i]);
    }

    [Fact]
    public async Task A_request_that_fails_disturbs_no_other()
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        using Engine engine = new(tiny.Model, tiny.Ops, prefillTokens: 512);
        CancellationToken none = TestContext.Current.CancellationToken;
        Task<IReadOnlyList<DecodedSequence>> good = engine.RunAsync(new([[66, 124]], NoEnd), none);
        Task<IReadOnlyList<DecodedSequence>> tooLong = engine.RunAsync(new([[66, 124]], NoEnd with { MaxNewTokens = 1000 }), none);
        Task<IReadOnlyList<DecodedSequence>> noSuchId = engine.RunAsync(new([[66, 384]], NoEnd), none);
        Task<IReadOnlyList<DecodedSequence>> nothingLeft = engine.RunAsync(
            new([[66]], NoEnd with { SuppressTokens = [.. Enumerable.Range(0, 384)] }), none);
        Task<IReadOnlyList<DecodedSequence>> nothingLeftForBeams = engine.RunAsync(
            new([[66]], NoEnd with { SuppressTokens = [.. Enumerable.Range(0, 384)], NumBeams = 2 }), none);
        GenerationOptions nothing = NoEnd with { SuppressTokens = [.. Enumerable.Range(0, 384)] };
        Task<IReadOnlyList<DecodedSequence>> nothingLeftForGroups = engine.RunAsync(
            new([[66]], nothing with { NumBeams = 4, NumBeamGroups = 2, DiversityPenalty = 1 }), none);
        ArgumentException error = await Assert.ThrowsAsync<ArgumentException>(() => tooLong);
        Assert.Contains("1002", error.Message, StringComparison.Ordinal);
        Assert.Contains("160", error.Message, StringComparison.Ordinal);
        Assert.Contains("384", (await Assert.ThrowsAsync<ArgumentException>(() => noSuchId)).Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<InvalidOperationException>(() => nothingLeft);
        await Assert.ThrowsAsync<InvalidOperationException>(() => nothingLeftForBeams);
        await Assert.ThrowsAsync<InvalidOperationException>(() => nothingLeftForGroups);
        Assert.Equal(12, (await good)[0].Ids.Length);
    }

    [Fact]
    public async Task Disposing_cancels_what_is_running()
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        Engine engine = new(tiny.Model, tiny.Ops, prefillTokens: 512);
        Task<IReadOnlyList<DecodedSequence>> running = engine.RunAsync(
            new([[66]], NoEnd with { MaxNewTokens = 150, NumBeams = 8 }), TestContext.Current.CancellationToken);
        engine.Dispose();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => engine.RunAsync(new([[66]], NoEnd), TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Rows_without_a_token_are_never_chosen()
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        foreach (GenerationOptions options in (GenerationOptions[])[NoEnd,
            NoEnd with { DoSample = true, TopK = 0, Seed = 1, Temperature = 9 },
            NoEnd with { NumBeams = 3, NumReturnSequences = 3 },
            NoEnd with { NumBeams = 3, DoSample = true, TopK = 0, Temperature = 9, Seed = 2 },
            NoEnd with { RemoveInvalidValues = true, SuppressTokens = [3, 383] }])
        {
            IReadOnlyList<DecodedSequence> texts = tiny.Run(new([[66, 124]], options) { Choosable = 50 });
            Assert.All(texts, text => Assert.All(text.Ids, id => Assert.InRange(id, 0, 49)));
            Assert.All(texts, text => Assert.Equal(12, text.Ids.Length));
        }
    }

    [Fact]
    public void Log_probabilities_are_the_models_own()
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        GenerationOptions options = NoEnd with { LogProbabilities = true, TopLogProbabilities = 384, RepetitionPenalty = 5 };
        Assert.Throws<ArgumentException>(() => tiny.Run(new([[66, 124]], options)));
        DecodedSequence text = tiny.Run(new([[66, 124]], options with { TopLogProbabilities = 100 }))[0];
        float[] raw = tiny.Ops.Read(tiny.Model.Run(tiny.Ops, Fude.Tensors.Batch.Of([66, 124]))).ToArray();
        double sum = Math.Log(raw.Sum(x => Math.Exp(x)));
        Assert.Equal(raw[text.Ids[0]] - sum, text.LogProbabilities![0], 1e-5);
        Assert.Equal([.. raw.Select((x, i) => (x, i)).OrderByDescending(p => p.x).Take(100).Select(p => p.i)],
            text.TopLogProbabilities![0].Select(top => top.Token).ToArray());
        Assert.Equal(raw.Max() - sum, text.TopLogProbabilities[0][0].LogProbability, 1e-5);
    }

    [Fact]
    public void Texts_of_one_seed_differ_among_themselves_and_repeat_with_the_seed()
    {
        using TestModel tiny = TestModel.Open("llama-mha");
        GenerationOptions options = NoEnd with { DoSample = true, NumReturnSequences = 4, Seed = 77 };
        IReadOnlyList<DecodedSequence> first = tiny.Run(new([[66, 124]], options)), again = tiny.Run(new([[66, 124]], options));
        AssertSame(first, again);
        Assert.Equal(4, first.Select(text => string.Join(',', text.Ids)).Distinct().Count());
        // The first text of a call is the text of a call for one.
        Assert.Equal(first[0].Ids, tiny.Run(new([[66, 124]], options with { NumReturnSequences = 1 }))[0].Ids);
    }

    private static void AssertSame(IReadOnlyList<DecodedSequence> expected, IReadOnlyList<DecodedSequence> found)
    {
        Assert.Equal(expected.Count, found.Count);
        for (int i = 0; i < expected.Count; i++)
        {
            Assert.Equal(expected[i].Ids, found[i].Ids);
            Assert.Equal(expected[i].Score, found[i].Score);
            Assert.Equal(expected[i].LogProbabilities, found[i].LogProbabilities);
            Assert.Equal(expected[i].TopLogProbabilities, found[i].TopLogProbabilities);
        }
    }
}
