using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Fude.Models;
using Fude.Tensors;
using Fude.Tokenizers;
using static Fude.Tokenizers.Wording;

namespace Fude.Generation;

/// <summary>A model with its tokenizer: text in, text out.</summary>
/// <remarks>
/// Safe for several threads. Calls that overlap are computed together, a token for each at every step, and what a call gives does not
/// depend on the others. Where the keys and values of all would take more than half of the memory that was free when the model was
/// loaded, the later ones wait.
/// </remarks>
/// <example>
/// <code>
/// using TextGenerator generator = TextGenerator.Load("models/fude-mini-ja");
/// await foreach (string piece in generator.Stream("吾輩は", new() { MaxNewTokens = 100 })) Console.Write(piece);
/// </code>
/// </example>
public sealed class TextGenerator : IDisposable
{
    /// <summary>Prompt tokens a step reads at most: enough to keep the matrix units busy, and a bound for the memory it takes.</summary>
    private const int PrefillTokens = 512;

    /// <summary>Weights of a model at most that is run once before the first prompt: a larger one takes longer than its kernels take to compile.</summary>
    private const long WarmUpParameters = 100_000_000;

    private const int WarmUpTokens = 4;

    private readonly LanguageModel _model;
    private readonly IOps _ops;
    private readonly Engine _engine;

    private TextGenerator(ModelFolder folder, LanguageModel model, IOps ops, Tokenizer? tokenizer)
    {
        (Folder, _model, _ops, Tokenizer) = (folder, model, ops, tokenizer);
        Defaults = DefaultsOf(folder);
        // Half of what is free: pages of a mapped model count as free as long as nobody has read them.
        _engine = new Engine(model, ops, PrefillTokens, ModelSummary.AvailableMemoryBytes() / 2);
    }

    /// <summary>Where the model was loaded from.</summary>
    public ModelFolder Folder { get; }

    /// <summary>Where the adapter that it was loaded with lies, or null.</summary>
    internal string? AdapterFolder => _model.Adapter?.Folder;

    /// <summary>The model's tokenizer, or null: then ids go in and out.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>The model's hyper-parameters.</summary>
    public ModelConfig Config => _model.Config;

    /// <summary>How the keys and values of requests from now on are kept: <see cref="LanguageModel.KvCacheFormat"/>.</summary>
    public NumberFormat KvCacheFormat
    {
        get => _model.KvCacheFormat;
        set => _model.KvCacheFormat = value;
    }

    /// <summary>Whether the text written last stays in memory, with its keys and values, so that a prompt that begins alike is read from
    /// where they part: the next turn of a conversation. What is written does not depend on it, to the bit. Off at first; when it
    /// is switched off, the memory goes back with the next request.</summary>
    public bool KeepsLastText
    {
        get => _engine.KeepsLastText;
        set => _engine.KeepsLastText = value;
    }

    /// <summary>What generation_config.json and config.json set; the options of a call win over it.</summary>
    public GenerationOptions Defaults { get; }

    /// <summary>Loads a model's folder in Hugging Face's layout, or a GGUF file, onto the processor.</summary>
    /// <param name="folder">Holds config.json, weights, and perhaps a tokenizer and generation_config.json; or the file.</param>
    /// <param name="adapterFolder">A PEFT adapter to apply, or null.</param>
    /// <param name="threads">Threads to compute with; 0 is one for each processor. The result never depends on it.</param>
    /// <param name="format">Number formats to quantise the weights to while they are loaded; null to take them as they are.</param>
    /// <param name="progress">Hears what part of them is quantised, from 0 to 1.</param>
    /// <exception cref="IOException">There is no such folder, or it cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is missing or damaged, or files are not of one model.</exception>
    /// <exception cref="NotSupportedException">The model, its tokenizer or its generation_config.json ask for something fude does not
    /// do.</exception>
    public static TextGenerator Load(
        string folder, string? adapterFolder = null, int threads = 0, QuantizationMix? format = null, IProgress<double>? progress = null)
    {
        ModelFolder opened = ModelFolder.Open(folder);
        DefaultsOf(opened);      // a bad generation_config.json is told before gigabytes are read
        // Beside the weights; but a bad one is told before minutes are spent on quantising them.
        Task<Tokenizer?> tokenizer = Task.Run(() => opened.HasTokenizer ? opened.Tokenizer : null);
        if (format is not null) _ = tokenizer.GetAwaiter().GetResult();
        LanguageModel? model = null;
        CpuOps? ops = null;
        try
        {
            model = format is QuantizationMix mix ? opened.LoadModel(mix, adapterFolder, progress) : opened.LoadModel(adapterFolder);
            ops = new CpuOps(threads);
            if (!tokenizer.IsCompleted && model.Config.Context >= WarmUpTokens && ModelSummary.Of(model.Config).Parameters <= WarmUpParameters) WarmUp(model, ops);
            return new TextGenerator(opened, model, ops, tokenizer.GetAwaiter().GetResult());
        }
        catch
        {
            ops?.Dispose();
            model?.Dispose();
            throw;
        }
    }

    // While the tokenizer is still read, the kernels of a prompt and of a token are compiled by running them.
    private static void WarmUp(LanguageModel model, CpuOps ops)
    {
        using KvCache cache = model.CreateCache(ops, WarmUpTokens);
        _ = model.Run(ops, Batch.Of(new int[WarmUpTokens - 1], cache: cache));
        _ = model.Run(ops, Batch.Of([0], cache: cache));
    }

    /// <summary>Refuses options with which no prompt could be continued, before there is one.</summary>
    /// <param name="options">What differs from <see cref="Defaults"/>.</param>
    /// <exception cref="ArgumentException">An option is out of its range.</exception>
    public void Require(GenerationOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _ = GenerationSettings.Resolve(options.Over(Defaults), promptLength: 1, Config.Vocabulary, Config.Context);
    }

    /// <summary>The ids of a prompt.</summary>
    /// <param name="prompt">The text.</param>
    /// <param name="addSpecialTokens">Whether the tokenizer adds what it puts around a text, such as BOS.</param>
    /// <exception cref="NotSupportedException">The folder has no tokenizer.</exception>
    public int[] Encode(string prompt, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return (Tokenizer ?? throw NoTokenizer(Say("a text prompt", "テキストのプロンプト"))).Encode(prompt, addSpecialTokens);
    }

    /// <summary>Continues a text.</summary>
    /// <param name="prompt">The text, encoded with the tokenizer's special tokens.</param>
    /// <param name="options">What differs from <see cref="Defaults"/>.</param>
    /// <param name="cancellation">Gives up between two tokens.</param>
    /// <returns>As many texts as num_return_sequences, best first.</returns>
    /// <exception cref="ArgumentException">An option is out of its range, or prompt and new tokens exceed the model's context; no work was
    /// done.</exception>
    public Task<IReadOnlyList<GenerationResult>> GenerateAsync(
        string prompt, GenerationOptions? options = null, CancellationToken cancellation = default) =>
        GenerateAsync(Encode(prompt), options, cancellation);

    /// <summary>Continues a prompt of ids.</summary>
    /// <inheritdoc cref="GenerateAsync(string, GenerationOptions?, CancellationToken)"/>
    public Task<IReadOnlyList<GenerationResult>> GenerateAsync(
        IReadOnlyList<int> promptIds, GenerationOptions? options = null, CancellationToken cancellation = default) =>
        GenerateAsync([promptIds], options, cancellation);

    /// <summary>Continues several prompts in step, so that with <see cref="GenerationOptions.TorchSeed"/> they share one generator, as the
    /// rows of a batch do in torch.</summary>
    /// <param name="prompts">The ids of each prompt.</param>
    /// <param name="options">What differs from <see cref="Defaults"/>.</param>
    /// <param name="cancellation">Gives up between two tokens.</param>
    /// <returns>The texts of the first prompt, best first, then those of the second, and so on.</returns>
    /// <exception cref="ArgumentException">An option is out of its range, or a prompt with its new tokens exceeds the model's context; no work was
    /// done.</exception>
    public async Task<IReadOnlyList<GenerationResult>> GenerateAsync(
        IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions? options = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        Writing writing = new(this, prompts, options, released: null);
        return writing.Results(await _engine.RunAsync(writing.Request, cancellation).ConfigureAwait(false));
    }

    /// <summary>Continues a text, and waits for it.</summary>
    /// <inheritdoc cref="GenerateAsync(string, GenerationOptions?, CancellationToken)"/>
    public IReadOnlyList<GenerationResult> Generate(
        string prompt, GenerationOptions? options = null, CancellationToken cancellation = default) =>
        GenerateAsync(prompt, options, cancellation).GetAwaiter().GetResult();

    /// <summary>Continues a prompt of ids, and waits for it.</summary>
    /// <inheritdoc cref="GenerateAsync(string, GenerationOptions?, CancellationToken)"/>
    public IReadOnlyList<GenerationResult> Generate(
        IReadOnlyList<int> promptIds, GenerationOptions? options = null, CancellationToken cancellation = default) =>
        GenerateAsync(promptIds, options, cancellation).GetAwaiter().GetResult();

    /// <summary>Continues a text, and gives it piece by piece as it is written: whole characters, no empty pieces.</summary>
    /// <param name="prompt">The text, encoded with the tokenizer's special tokens.</param>
    /// <param name="options">What differs from <see cref="Defaults"/>; of one text: num_return_sequences is 1.</param>
    /// <param name="cancellation">Gives up between two tokens.</param>
    /// <returns>The pieces of the text.</returns>
    /// <remarks>Together the pieces are the text of the result. A beam search gives its text at the end, in one piece.</remarks>
    /// <exception cref="ArgumentException">An option is out of its range, num_return_sequences is not 1, or prompt and new tokens exceed the model's
    /// context; no work was done.</exception>
    public async IAsyncEnumerable<string> Stream(
        string prompt, GenerationOptions? options = null, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        await foreach (GenerationUpdate update in StreamUpdates(Encode(prompt), options, cancellation).ConfigureAwait(false))
            if (update.Text.Length > 0) yield return update.Text;
    }

    /// <summary>Continues a prompt of ids piece by piece; the last update brings the result.</summary>
    /// <param name="promptIds">The ids.</param>
    /// <param name="options">What differs from <see cref="Defaults"/>; of one text: num_return_sequences is 1.</param>
    /// <param name="cancellation">Gives up between two tokens.</param>
    /// <returns>The pieces of the text, and at the end an update without text that has the result.</returns>
    /// <exception cref="ArgumentException">An option is out of its range, num_return_sequences is not 1, or prompt and new tokens exceed the model's
    /// context; no work was done.</exception>
    public async IAsyncEnumerable<GenerationUpdate> StreamUpdates(
        IReadOnlyList<int> promptIds, GenerationOptions? options = null, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(promptIds);
        if ((options?.NumReturnSequences ?? Defaults.NumReturnSequences ?? 1) != 1)
            throw new ArgumentException(Say(
                "A stream is of one text: num_return_sequences must be 1.",
                "逐次生成できるのは 1 つのテキストだけです。num_return_sequences を 1 にしてください。"));
        Channel<string> pieces = Channel.CreateUnbounded<string>(new() { SingleReader = true, SingleWriter = true });
        Writing writing = new(this, [promptIds], options, piece => pieces.Writer.TryWrite(piece));
        // Whoever stops reading early gives the request up.
        using CancellationTokenSource abandoned = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task<GenerationResult> result = FinishAsync();
        try
        {
            await foreach (string piece in pieces.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
            {
                cancellation.ThrowIfCancellationRequested();        // also when the model is already ahead of the reader
                yield return new(piece, null);
            }
            GenerationResult whole = await result.ConfigureAwait(false);
            cancellation.ThrowIfCancellationRequested();
            yield return new("", whole);
        }
        finally
        {
            await abandoned.CancelAsync().ConfigureAwait(false);
        }

        async Task<GenerationResult> FinishAsync()
        {
            try
            {
                return writing.Results(await _engine.RunAsync(writing.Request, abandoned.Token).ConfigureAwait(false))[0];
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                throw new OperationCanceledException(cancellation);
            }
            finally
            {
                pieces.Writer.Complete();
            }
        }
    }

    /// <summary>Gives up what is being written, and gives the memory back.</summary>
    public void Dispose()
    {
        _engine.Dispose();
        _ops.Dispose();
        _model.Dispose();
    }

    private static GenerationOptions DefaultsOf(ModelFolder folder)
    {
        GenerationOptions model = GenerationConfigFile.ReadModelConfig(folder.ConfigJson, folder.ConfigPath);
        GenerationOptions defaults = folder.GenerationConfigJson is { } json
            ? GenerationConfigFile.Read(json, folder.GenerationConfigPath).Over(model)
            : model with { EosTokenId = folder.Config.EosTokens };      // where config.json does not say, that of transformers' class
        // Small models often keep the end token of the large ones their configuration was copied from: it never comes out.
        return defaults.EosTokenId is { } ends
            ? defaults with { EosTokenId = [.. ends.Where(id => (uint)id < (uint)folder.Config.Vocabulary)] } : defaults;
    }

    private static NotSupportedException NoTokenizer(string wish) =>
        new(Say(
            $"The model's folder has no tokenizer, which {wish} needs: pass token ids, or put tokenizer.json or tokenizer.model beside " +
            "the weights.",
            $"モデルのフォルダーに、{wish}に必要なトークナイザーがありません。トークン ID を渡すか、重みの隣に tokenizer.json か tokenizer.model を置いてください。"));

    /// <summary>One call: its request, and the text that its tokens become.</summary>
    private sealed class Writing
    {
        private readonly Tokenizer? _tokenizer;
        private readonly Dictionary<int, TextAssembler> _assemblers = [];      // by row; none for beams, whose text is made at the end
        private readonly string[] _stops;
        private readonly Action<string>? _released;

        public Writing(TextGenerator generator, IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions? options,
            Action<string>? released)
        {
            GenerationOptions merged = (options ?? new()).Over(generator.Defaults);
            _tokenizer = generator.Tokenizer;
            _released = released;
            _stops = [.. merged.StopStrings ?? []];
            if (_stops.Length > 0 && _tokenizer is null) throw NoTokenizer(Say("a stop string", "停止文字列"));
            bool beams = merged.NumBeams > 1;
            Request = new([.. prompts.Select(prompt => prompt.ToArray())], merged)
            {
                Choosable = generator.Folder.SampleableTokens,
                OnToken = _tokenizer is null || beams ? null : OnToken,
                BeamHasStopped = _stops.Length > 0 && beams ? HasStopped : null,
            };
        }

        public DecodingRequest Request { get; }

        public IReadOnlyList<GenerationResult> Results(IReadOnlyList<DecodedSequence> sequences) => [.. sequences.Select((sequence, i) =>
        {
            TextAssembler? text = _tokenizer is null ? null
                : _assemblers.TryGetValue(i, out TextAssembler? assembled) ? assembled : Assemble(sequence.Prompt, sequence.Ids, _released);
            text?.Finish(sequence.Finish);
            return new GenerationResult
            {
                PromptIndex = sequence.Prompt,
                PromptIds = Request.Prompts[sequence.Prompt],
                KnownPromptTokens = sequence.KnownPromptTokens,
                Ids = sequence.Ids,
                Text = text?.Text,
                Finish = text is { HasStopped: true } ? FinishReason.Stop : sequence.Finish,
                DroppedCharacter = text is { DroppedCharacter: true },
                Score = sequence.Score,
                LogProbabilities = sequence.LogProbabilities,
                TopLogProbabilities = sequence.TopLogProbabilities,
            };
        })];

        private bool OnToken(int row, int prompt, int token)
        {
            if (!_assemblers.TryGetValue(row, out TextAssembler? text))
                _assemblers[row] = text = new TextAssembler(_tokenizer!, Request.Prompts[prompt], _stops, _released);
            return text.Push(token);
        }

        private bool HasStopped(int prompt, ReadOnlyMemory<int> ids) => Assemble(prompt, ids.Span, null).HasStopped;

        private TextAssembler Assemble(int prompt, ReadOnlySpan<int> ids, Action<string>? released)
        {
            TextAssembler text = new(_tokenizer!, Request.Prompts[prompt], _stops, released);
            foreach (int id in ids)
                if (text.Push(id)) break;
            return text;
        }
    }
}
