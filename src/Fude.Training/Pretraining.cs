using System.Globalization;
using Fude.Corpus;
using Fude.Models;
using Fude.Tensors;
using Fude.Tokenizers;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>What a model is pre-trained from and how.</summary>
public sealed record PretrainingSettings
{
    /// <summary>The run's folder: checkpoints, metrics, and at the end the folder "model".</summary>
    public required string Output { get; init; }

    /// <summary>The config.json of a new model; null to go on with <see cref="Base"/>.</summary>
    public string? Config { get; init; }

    /// <summary>The folder of a model to go on with (continued pre-training); null for a new one.</summary>
    public string? Base { get; init; }

    /// <summary>A folder whose tokenizer the trained model gets; null for that of <see cref="Base"/>, or none.</summary>
    public string? Tokenizer { get; init; }

    /// <summary>Shards to learn from, each a fold: see <see cref="PackedDocuments"/>.</summary>
    public required IReadOnlyList<string> Shards { get; init; }

    /// <summary>Shards that are only evaluated on.</summary>
    public IReadOnlyList<string> HeldOut { get; init; } = [];

    /// <summary>Held-out tokens that an evaluation reads at most.</summary>
    public long HeldOutTokens { get; init; } = 65_536;

    /// <summary>Tokens of a row.</summary>
    public int Context { get; init; } = 512;

    /// <summary>The numbers of the run.</summary>
    public required TrainerOptions Trainer { get; init; }

    /// <summary>β₁, β₂ and ε.</summary>
    public AdamWOptions AdamW { get; init; } = new();

    /// <summary>λ of matrices; gains and biases do not decay.</summary>
    public double WeightDecay { get; init; } = 0.1;

    /// <summary>How a new model's numbers are drawn.</summary>
    public InitialNumbers Initial { get; init; } = new(1);

    /// <summary>Chooses the order of documents.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>The number format of the model at the end: F32, BF16 or F16. Checkpoints are float32.</summary>
    public NumberFormat SaveFormat { get; init; } = NumberFormat.F32;

    /// <inheritdoc cref="CpuOps.Precision"/>
    public ProductPrecision Precision { get; init; }

    /// <summary>Threads, 0 for one per core. The result does not depend on it.</summary>
    public int Threads { get; init; }
}

/// <summary>Pre-trains a model, new or not, on token shards: from settings to a model's folder.</summary>
public sealed class Pretraining : IDisposable
{
    private readonly PretrainingSettings _settings;
    private readonly RunLock _lock;
    private readonly string? _tokenizerFolder;
    private readonly List<TokenShard> _shards = [];
    private readonly List<string> _shortHeldOut = [], _heldOutAlsoLearnt = [];
    private readonly TrainableModel _model;
    private readonly CpuOps _device;
    private readonly AdamW _optimizer;
    private readonly Trainer _trainer;

    /// <summary>Opens what the settings name, and takes up the last checkpoint where the folder has one.</summary>
    /// <exception cref="InvalidDataException">A file is missing or damaged, or the folder holds another run.</exception>
    /// <exception cref="NotSupportedException">The model is of a kind that fude does not compute.</exception>
    /// <exception cref="IOException">Another process has the run.</exception>
    public Pretraining(PretrainingSettings settings)
    {
        ArgumentNullException.ThrowIfNull(settings);
        if (settings.Config is null == settings.Base is null)
            throw new ArgumentException(Say(
                "Either the config.json of a new model or the folder of a model to go on with is given.",
                "新しいモデルの config.json か、継続元のモデルのフォルダーのどちらかを指定してください。"), nameof(settings));
        TrainableModel.RequireSaveFormat(settings.SaveFormat, nameof(settings));
        _settings = settings;
        try
        {
            (_tokenizerFolder, Tokenizer? tokenizer) = OpenTokenizer(settings);
            foreach (string shard in settings.Shards) _shards.Add(OpenShard(shard, tokenizer));
            PackedDocuments data = new(_shards, settings.Context, settings.Seed);
            TokensOfData = data.TokensOfAllFolds;
            _model = settings.Base is { } folder
                ? TrainableModel.Load(folder)
                : TrainableModel.Create(File.ReadAllBytes(settings.Config!), settings.Initial);
            if (settings.Tokenizer is { } others) _model.TakeTokenizer(others);
            ModelConfig config = _model.Model.Config;
            if (settings.Context > config.Context)
                throw new ArgumentException(Say(
                    $"Rows of {settings.Context} tokens (--context) are asked for, but the model's context is {config.Context}.",
                    $"1 行が {settings.Context} トークン（--context）ですが、モデルの文脈長は {config.Context} です。"), nameof(settings));
            (int entries, string whose) = (config.Vocabulary, Say("model's vocabulary", "モデルの語彙"));
            // Of a shard that does not say where it came from, a tokenizer is known to be another where it is too small.
            if (tokenizer?.VocabularySize < entries) (entries, whose) = (tokenizer.VocabularySize, Say($"tokenizer {_tokenizerFolder}", $"トークナイザー {_tokenizerFolder} "));
            if (settings.Tokenizer is not null && tokenizer?.VocabularySize > config.Vocabulary)
                throw new ArgumentException(Say(
                    $"The tokenizer {_tokenizerFolder} has {tokenizer.VocabularySize} entries, but the model's vocabulary has {config.Vocabulary}: it could not read what the tokenizer gives. Set vocab_size to {tokenizer.VocabularySize} or more.",
                    $"トークナイザー {_tokenizerFolder} は {tokenizer.VocabularySize} 語ですが、モデルの語彙は {config.Vocabulary} 語しかなく、読めないトークンが出ます。vocab_size を {tokenizer.VocabularySize} 以上にしてください。"), nameof(settings));
            Checkpoints checkpoints = new(Path.Combine(settings.Output, "checkpoints"));
            // The shards of a run that goes on were looked through when it began: its identity tells them from others.
            if (checkpoints.Steps.Count == 0)
                foreach (TokenShard shard in _shards) CheckTokens(shard, entries, whose);
            List<SupervisedBatch> heldOut = ReadHeldOut(tokenizer, entries, whose);
            _lock = new RunLock(settings.Output);
            RunIdentity.Check(settings.Output, Identity(), checkpoints.Steps.Count > 0);
            RunLeftovers.Clear(settings.Output);
            _device = new CpuOps(settings.Threads) { Precision = settings.Precision };
            _optimizer = new AdamW(_model, settings.AdamW, ParameterGroup.AsTransformersTrainer(settings.WeightDecay));
            _trainer = new Trainer(_model, _device, _optimizer, data, checkpoints, settings.Trainer, heldOut.Count > 0 ? heldOut : null);
            IsResumed = _trainer.Resume();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>How far the run is.</summary>
    public RunState State => _trainer.State;

    /// <inheritdoc cref="Trainer.IsDone"/>
    public bool IsDone => _trainer.IsDone;

    /// <inheritdoc cref="Trainer.EndedEarly"/>
    public bool EndedEarly => _trainer.EndedEarly;

    /// <inheritdoc cref="Trainer.ResultStep"/>
    public long? ResultStep => _trainer.ResultStep;

    /// <inheritdoc cref="Trainer.LostBest"/>
    public double? LostBest => _trainer.LostBest;

    /// <inheritdoc cref="Trainer.OtherBest"/>
    public double? OtherBest => _trainer.OtherBest;

    /// <summary>Whether the run goes on from a checkpoint.</summary>
    public bool IsResumed { get; }

    /// <summary>Whether the trained model gets a tokenizer, which is then the one that shards have to be of.</summary>
    /// <remarks>A run that an earlier version began with a tokenizer's file ends without one.</remarks>
    public bool HasTokenizer => _tokenizerFolder is not null && !File.Exists(_tokenizerFolder);

    /// <summary>Held-out shards of less than a row, which are not evaluated on.</summary>
    public IReadOnlyList<string> ShortHeldOut => _shortHeldOut;

    /// <summary>Held-out shards, by the names they were given, that are learnt from too.</summary>
    public IReadOnlyList<string> HeldOutAlsoLearnt => _heldOutAlsoLearnt;

    /// <summary>What is trained.</summary>
    public TrainableModel Model => _model;

    /// <summary>What computes.</summary>
    public CpuOps Device => _device;

    /// <summary>Tokens of reading in one pass over every shard.</summary>
    public long TokensOfData { get; }

    /// <summary>Tokens learnt from in a step.</summary>
    public long TokensOfStep => (long)_settings.Trainer.RowsPerBatch * _settings.Trainer.BatchesPerStep * _settings.Context;

    /// <summary>Where the trained model is written.</summary>
    public string ModelPath => Path.Combine(_settings.Output, "model");

    /// <summary>Runs to its end and writes the model of <see cref="ResultStep"/>, with its tokenizer.</summary>
    /// <param name="progress">Told of every step; or null.</param>
    /// <param name="stop">Ends the run after the step it is in, with a checkpoint and without a model.</param>
    /// <returns>Whether the run came to its end.</returns>
    /// <exception cref="DivergenceException">A loss or a gradient was no finite number.</exception>
    /// <exception cref="IOException">A file could not be written; a model that was there is still there, as it was.</exception>
    public bool Run(Action<StepReport>? progress = null, CancellationToken stop = default)
    {
        _trainer.Run(progress, stop);
        if (!_trainer.IsDone) return false;
        _trainer.TakeResult();
        _model.SaveWhole(ModelPath, _settings.SaveFormat);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _optimizer?.Dispose();
        _device?.Dispose();
        _model?.Dispose();
        foreach (TokenShard shard in _shards) shard.Dispose();
        _lock?.Dispose();
    }

    // The tokenizer that the trained model gets, and where it is; none where nobody names one.
    private static (string? Folder, Tokenizer? Tokenizer) OpenTokenizer(PretrainingSettings settings) =>
        settings.Tokenizer is { } file && File.Exists(file) && new Checkpoints(Path.Combine(settings.Output, "checkpoints")).Steps.Count == 0 ? throw new IOException(Say(
            $"{file} is a file: the trained model gets all files of a tokenizer. Give their folder.",
            $"{file} はファイルです。学習したモデルにはトークナイザーのファイルをすべて付けるため、それらのあるフォルダーを指定してください。"))
        : settings.Tokenizer is { } own ? (own, ModelFolder.OpenTokenizer(own))
        : settings.Base is { } folder && ModelFolder.Open(folder) is { HasTokenizer: true } model ? (folder, model.Tokenizer)
        : (null, null);

    // Rates, schedule and lengths may change from one resume to the next: a run is made longer, or decayed earlier, on purpose.
    private List<RunTrait> Identity()
    {
        List<RunTrait> traits =
        [
            new(_settings.Base is null ? "config" : "base",
                RunIdentity.FingerprintOf(_settings.Config ?? Path.Combine(_settings.Base!, "config.json")), _settings.Config ?? _settings.Base),
            new("context", _settings.Context.ToString(CultureInfo.InvariantCulture)),
            new("seed", _settings.Seed.ToString(CultureInfo.InvariantCulture)),
        ];
        for (int i = 0; i < _shards.Count; i++)
        {
            traits.Add(new($"shard {i + 1}", string.Create(CultureInfo.InvariantCulture,
                $"{_shards[i].Documents} documents, {_shards[i].Tokens} tokens, index {RunIdentity.FingerprintOf(_shards[i].Path + ".idx")}"), _shards[i].Path));
            traits.Add(ShardFingerprint.Of($"shard {i + 1}", _shards[i].Path));
        }
        string? tokenizer = _settings.Tokenizer ?? _settings.Base;
        traits.Add(new("tokenizer", (tokenizer is null ? null : ModelFingerprint.OfTokenizer(tokenizer)) ?? "none", tokenizer) { IsLater = true });
        if (_settings.Base is { } folder) traits.Add(new("base weights", ModelFingerprint.Of(folder), folder) { IsLater = true });
        traits.Add(RunIdentity.Precision(_settings.Precision));
        return traits;
    }

    private List<SupervisedBatch> ReadHeldOut(Tokenizer? tokenizer, int vocabulary, string whose)
    {
        List<SupervisedBatch> batches = [];
        if (_settings.HeldOut.Count == 0) return batches;
        List<TokenShard> shards = [];
        try
        {
            foreach (string path in _settings.HeldOut)
            {
                shards.Add(OpenShard(path, tokenizer));
                if (_shards.Exists(learnt => ShardFingerprint.AreOne(learnt, shards[^1]))) _heldOutAlsoLearnt.Add(path);
            }
            int rowTokens = _settings.Context;
            if (_settings.HeldOutTokens / shards.Count < rowTokens)
                throw new ArgumentException(Say(
                    $"An evaluation on {_settings.HeldOutTokens} held-out tokens of {shards.Count} shards has less than a row of {rowTokens} of each: allow {(long)rowTokens * shards.Count} or more (--held-out-tokens).",
                    $"検証用 {_settings.HeldOutTokens} トークンを {shards.Count} 個のシャードに分けると、それぞれ 1 行 {rowTokens} トークンに満ちません。{(long)rowTokens * shards.Count} 以上にしてください（--held-out-tokens）。"));
            foreach (TokenShard shard in shards)
            {
                CheckTokens(shard, vocabulary, whose);
                // The same part of each shard, and none of it twice.
                PackedDocuments data = new([shard], _settings.Context, seed: 0);
                long rows = Math.Min(data.TokensOfAllFolds, _settings.HeldOutTokens / shards.Count) / rowTokens;
                if (rows == 0) _shortHeldOut.Add(shard.Path);
                for (long row = 0; row < rows; row += _settings.Trainer.RowsPerBatch)
                    batches.Add(data.Next((int)Math.Min(rows - row, _settings.Trainer.RowsPerBatch)));
            }
        }
        finally
        {
            foreach (TokenShard shard in shards) shard.Dispose();
        }
        return batches.Count > 0 ? batches : throw new InvalidDataException(Say(
            $"{string.Join(", ", _settings.HeldOut)}: hold less than a row of {_settings.Context} tokens: there is nothing to evaluate on.",
            $"{string.Join(", ", _settings.HeldOut)}: {_settings.Context} トークンの 1 行に満たず、評価できるものがありません。"));
    }

    private TokenShard OpenShard(string path, Tokenizer? tokenizer)
    {
        TokenShard shard = TokenShard.Open(path);
        try
        {
            if (tokenizer is not null) ShardTokenizer.Require(shard, tokenizer, _tokenizerFolder!);
            return shard;
        }
        catch
        {
            shard.Dispose();
            throw;
        }
    }

    private static void CheckTokens(TokenShard shard, int vocabulary, string whose)
    {
        int[] piece = new int[1 << 16];
        for (int document = 0; document < shard.Documents; document++)
        {
            long length = shard.LengthOf(document);
            for (long start = 0; start < length; start += piece.Length)
            {
                Span<int> tokens = piece.AsSpan(0, (int)Math.Min(piece.Length, length - start));
                shard.Read(document, start, tokens);
                ShardTokenizer.RequireWithin(shard, document, tokens, vocabulary, whose);
            }
        }
    }
}
