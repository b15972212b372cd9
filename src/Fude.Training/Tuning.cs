using System.Globalization;
using System.Text;
using Fude.Corpus;
using Fude.Models;
using Fude.Tensors;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>Tunes a model, all of it or an adapter beside it, on instructions or preferences: from settings to a folder that fude generates with.</summary>
public sealed class Tuning : IDisposable
{
    private readonly byte[]? _generationConfig;      // as it was when the run began: the file may be gone at its end
    private readonly TuningSettings _settings;
    private readonly RunLock _lock;
    private readonly TuningData _data;
    private readonly TrainableModel _model;
    private readonly CpuOps _device;
    private readonly AdamW _optimizer;
    private readonly MixedLessons _lessons;
    private readonly Trainer _trainer;

    /// <summary>Loads the model, and takes up the last checkpoint where the folder has one.</summary>
    /// <param name="settings">What is tuned and how.</param>
    /// <param name="data">The examples, read with the same settings.</param>
    /// <param name="quantising">Hears what part of the base is quantised, from 0 to 1.</param>
    /// <param name="judging">Told how many preferences the reference has judged, where that has to be done.</param>
    /// <param name="stop">Ends the judging.</param>
    /// <exception cref="InvalidDataException">A file is missing or damaged, or the folder holds another run.</exception>
    /// <exception cref="NotSupportedException">The model is of a kind that fude does not compute, or not trainable as it is.</exception>
    /// <exception cref="IOException">Another process has the run.</exception>
    public Tuning(
        TuningSettings settings, TuningData data, IProgress<double>? quantising = null, Action<int>? judging = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(settings);
        ArgumentNullException.ThrowIfNull(data);
        TrainableModel.RequireSaveFormat(settings.SaveFormat, nameof(settings));
        if (settings.Lora is null && data.Folder.IsGguf)
            throw new NotSupportedException(Say(
                $"{settings.Model} is a GGUF file: training all weights needs the model's folder, with config.json and its own weights. An adapter can be trained beside it (--lora-rank).",
                $"{settings.Model} は GGUF ファイルです。全重みの学習には、config.json と元の重みのあるモデルのフォルダーが必要です。隣に置くアダプターなら学習できます（--lora-rank）。"));
        if (settings.Lora is null && settings.BaseFormat is not null)
            throw new NotSupportedException(Say(
                "Quantised weights are not trained: an adapter beside them is (--lora-rank).",
                "量子化した重みは学習できません。隣に置くアダプターなら学習できます（--lora-rank）。"));
        (_settings, _data) = (settings, data);
        try
        {
            _model = settings.Lora is { } lora
                ? TrainableModel.LoadWithAdapter(
                    settings.Model, lora.ToAdapterConfig(data.Folder.Config, Path.GetFullPath(settings.Model)), settings.Seed, settings.BaseFormat, quantising)
                : TrainableModel.Load(settings.Model);
            if (settings.GenerationConfig is { } generation)
            {
                _generationConfig = File.ReadAllBytes(generation);
                if (_generationConfig.AsSpan().StartsWith("\uFEFF"u8)) _generationConfig = _generationConfig[3..];      // which transformers would not read
            }
            _model.Format = data.Encoder.Format;
            _lock = new RunLock(settings.Output);
            Checkpoints checkpoints = new(Path.Combine(settings.Output, "checkpoints"));
            RunIdentity.Check(settings.Output, Identity(), checkpoints.Steps.Count > 0);
            RunLeftovers.Clear(settings.Output);
            _device = new CpuOps(settings.Threads) { Precision = settings.Precision };
            _optimizer = new AdamW(_model, settings.AdamW, ParameterGroup.AsTransformersTrainer(settings.WeightDecay));
            Func<Learner, double>? heldOutLoss = null;
            string? heldOutMark = null;
            if (settings.Preference is { } loss)
            {
                (List<List<JudgedPair>> pairs, List<JudgedPair> heldOut) = Judge(judging, stop);
                _lessons = new PreferenceLessons(pairs, data.Mixture, settings.Batch, settings.Epochs, loss);
                if (heldOut.Count > 0) (heldOutLoss, heldOutMark) = (learner => PreferenceLessons.MeanLoss(learner, heldOut, loss), HeldOutMark.Of(heldOut));
            }
            else
            {
                _lessons = new InstructionLessons(data.Examples, data.Mixture, settings.Batch, settings.Epochs, settings.TokensPerBatch);
                IReadOnlyList<SupervisedBatch> heldOut = InstructionLessons.Batches(data.HeldOut, settings.TokensPerBatch);
                if (heldOut.Count > 0) (heldOutLoss, heldOutMark) = (learner => Trainer.MeanLoss(learner, heldOut), HeldOutMark.Of(heldOut));
            }
            long warmUp = WarmUpSteps(settings.WarmUp, _lessons.Steps);
            Schedule = new Schedule(
                settings.LearningRate, settings.Schedule, _lessons.Steps, warmUp, settings.FinalRate,
                Schedule.DecayOf(_lessons.Steps, warmUp));
            _trainer = new Trainer(_model, _device, _optimizer, _lessons, checkpoints, new TrainerOptions
            {
                Schedule = Schedule,
                ClipNorm = settings.ClipNorm,
                Loss = settings.Loss,
                Dropout = new DropoutRates(settings.Dropout, settings.Dropout, settings.Dropout, (float)(settings.Lora?.Dropout ?? 0)),
                Recomputes = settings.Recomputes,
                Seed = settings.Seed,
                CheckpointEvery = settings.CheckpointEvery,
                KeepCheckpoints = settings.KeepCheckpoints,
                EvaluateEvery = settings.EvaluateEvery,
                Patience = settings.Patience,
                KeepsBest = settings.KeepsBest,
            }, heldOutLoss, heldOutMark);
            IsResumed = _trainer.Resume();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>What is trained.</summary>
    public TrainableModel Model => _model;

    /// <summary>What computes.</summary>
    public CpuOps Device => _device;

    /// <summary>The learning rate of each step.</summary>
    public Schedule Schedule { get; }

    /// <summary>Examples of a step: no more than the whole run has.</summary>
    public int ExamplesOfStep => (int)Math.Min(_settings.Batch, _lessons.Examples);

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

    /// <summary>Whether it goes on from a checkpoint.</summary>
    public bool IsResumed { get; }

    /// <summary>Further numbers of the last step: those of preferences.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> LastStep => (_lessons as PreferenceLessons)?.LastStep ?? [];

    /// <summary>Where the result is written: a model's folder, or an adapter's.</summary>
    public string ResultPath => Path.Combine(_settings.Output, _model.IsAdapter ? "adapter" : "model");

    /// <summary>Runs to its end and writes the result, the weights of <see cref="ResultStep"/>.</summary>
    /// <param name="progress">Told of every step; or null.</param>
    /// <param name="stop">Ends the run after the step it is in, with a checkpoint and without a result.</param>
    /// <returns>Whether the run came to its end.</returns>
    /// <exception cref="DivergenceException">A loss or a gradient was no finite number.</exception>
    /// <exception cref="IOException">A file could not be written; a result that was there is still there, as it was.</exception>
    public bool Run(Action<StepReport>? progress = null, CancellationToken stop = default)
    {
        _trainer.Run(progress, stop);
        if (!_trainer.IsDone) return false;
        _trainer.TakeResult();
        _model.SaveWhole(ResultPath, _model.IsAdapter ? NumberFormat.F32 : _settings.SaveFormat, more: _generationConfig is null ? null
            : folder => AtomicFile.Write(Path.Combine(folder, "generation_config.json"), _generationConfig));
        return true;
    }

    /// <summary>The mean loss on what is held out, nats a token, or of preferences a pair; null where there is none.</summary>
    public double? Evaluate() => _trainer.Evaluate();

    /// <inheritdoc/>
    public void Dispose()
    {
        _optimizer?.Dispose();
        _device?.Dispose();
        _model?.Dispose();
        _lock?.Dispose();
    }

    // Before any training, and with the adapter off, the model is the reference.
    private (List<List<JudgedPair>> Pairs, List<JudgedPair> HeldOut) Judge(Action<int>? progress, CancellationToken stop)
    {
        Learner learner = new(_model, _device);
        PreferencePair[] pairs = [.. _data.Pairs.Append(_data.HeldOutPairs).SelectMany(source => source.Select(one => one.Pair))];
        LoraAdapter? adapter = _model.Model.Adapter;
        if (adapter is not null) adapter.IsOn = false;
        AnswerScores[] scores;
        try
        {
            scores = ReferenceScores.Of(Path.Combine(_settings.Output, "reference.scores"), _settings.Model, pairs, learner.Score, done =>
            {
                stop.ThrowIfCancellationRequested();
                progress?.Invoke(done);
            }, $"{_settings.BaseFormat}{(_settings.Precision == ProductPrecision.F32 ? "" : $" {_settings.Precision.Name()} products")}");
        }
        finally
        {
            if (adapter is not null) adapter.IsOn = true;
        }
        int next = 0;
        return ([.. _data.Pairs.Select(Judged)], Judged(_data.HeldOutPairs));

        List<JudgedPair> Judged(IReadOnlyList<(PreferencePair Pair, string Place)> source) =>
            [.. source.Select(one => new JudgedPair(one.Pair, scores[next++], one.Place))];
    }

    // Everything that the weights depend on; how often a checkpoint is written, or a held-out file read, may change.
    private List<RunTrait> Identity()
    {
        List<(string Name, object? Value)> traits =
        [
            ("base format", _settings.BaseFormat),
            ("prompt format", _data.Encoder.Format.Name), ("system", _settings.System),
            ("context", _settings.Context ?? _data.Folder.Config.Context), ("too long", _settings.TooLong), ("last answer only", _settings.LastAnswerOnly),
            ("both speakers", _settings.Reader.TakesBothSpeakers), ("all replies", _settings.Reader.TakesAllReplies), ("held-out share", _settings.HeldOutShare),
            ("lora", _settings.Lora is { } lora ? $"rank {Number(lora.Rank)}, alpha {Number(lora.Alpha)}, dropout {Number(lora.Dropout)}, targets " +
                $"{(lora.Targets is null ? "all" : string.Join(' ', lora.Targets))}{(lora.RankStabilised ? ", rank-stabilised" : "")}" : "none"),
            ("preference", Words(_settings.Preference)), ("epochs", _settings.Epochs), ("batch", _settings.Batch),
            ("learning rate", _settings.LearningRate), ("schedule", _settings.Schedule), ("warm-up", _settings.WarmUp), ("final rate", _settings.FinalRate),
            ("weight decay", _settings.WeightDecay), ("AdamW", Words(_settings.AdamW)), ("clip", _settings.ClipNorm), ("loss", Words(_settings.Loss)),
            ("dropout", _settings.Dropout), ("seed", _settings.Seed),
        ];
        // A pass of preferences holds one pair.
        if (_settings.Preference is null) traits.Add(("tokens per micro-batch", _settings.TokensPerBatch));
        List<RunTrait> all = [new("model", ModelFingerprint.Of(_settings.Model), _settings.Model), .. traits.Select(trait => new RunTrait(trait.Name, string.Create(CultureInfo.InvariantCulture, $"{trait.Value}")))];
        for (int i = 0; i < _settings.Data.Count; i++)
        {
            SourceSummary source = _data.Sources[i];
            all.Add(new($"data {Number(i + 1)}", $"{RunIdentity.FingerprintOf(source.File)}, weight {Number(source.Weight)}, {Number(source.Examples)} examples", source.File));
        }
        for (int i = 0; i < _settings.Replay.Count; i++)
        {
            using TokenShard shard = TokenShard.Open(_settings.Replay[i]);
            string name = $"replay {Number(i + 1)}", index = RunIdentity.FingerprintOf(shard.Path + ".idx");
            all.Add(new(name, $"{Number(shard.Tokens)} tokens, index {index}, share {Number(_settings.ReplayShare)}", shard.Path));
            all.Add(ShardFingerprint.Of(name, shard.Path));
        }
        // Earlier versions had pieces as long as examples may be.
        if (_settings.Replay.Count > 0)
            all.Add(new("replay length", Number(_data.ReplayLength), Before: Number(_settings.Context ?? _data.Folder.Config.Context)) { IsLater = true });
        all.Add(RunIdentity.Precision(_settings.Precision));
        if (!_data.Folder.IsGguf)
        {
            all.Add(new("tokenizer", ModelFingerprint.OfTokenizer(_settings.Model) ?? "none", _settings.Model) { IsLater = true });
            all.Add(new("chat template", ModelFingerprint.OfPrompts(_settings.Model) ?? "none", _settings.Model) { IsLater = true });
        }
        return all;
    }

    // The first step of a warm-up has rate 0. transformers rounds up, so that a run of a step or two learns nothing, or half: a warm-up of less than
    // a step is none here, and the last step is never part of one.
    internal static long WarmUpSteps(double share, long steps) => share * steps < 1 ? 0 : Math.Min(steps - 1, (long)Math.Ceiling(share * steps));

    // Written out, for identities must stay the same in every culture and whatever the records come to hold.
    private static string Words(AdamWOptions options) => string.Create(CultureInfo.InvariantCulture,
        $"AdamWOptions {{ Beta1 = {options.Beta1}, Beta2 = {options.Beta2}, Epsilon = {options.Epsilon} }}");

    private static string Words(LossForm form) => string.Create(CultureInfo.InvariantCulture,
        $"LossForm {{ LabelSmoothing = {form.LabelSmoothing}, ZLoss = {form.ZLoss} }}");

    private static string? Words(PreferenceLoss? loss) => loss is null ? null : string.Create(CultureInfo.InvariantCulture,
        $"PreferenceLoss {{ Form = {loss.Form}, Beta = {loss.Beta}, LabelSmoothing = {loss.LabelSmoothing}, PerToken = {loss.PerToken} }}");

    private static string Number(double value) => value.ToString(CultureInfo.InvariantCulture);
}
