"""What an auditor's statement may be made of: tables, columns, functions, kinds of syntax. All else is refused."""

from collections.abc import Mapping

from sqlglot import exp

from audit.event_row import EVENT, SIGHT


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TABLES: Mapping[str, frozenset[str]] = {"event": frozenset(EVENT.names), "sight": frozenset(SIGHT.names)}
COLUMNS = frozenset().union(*TABLES.values())

_AGGREGATES = (
    "any_value approx_count_distinct arg_max arg_min avg bool_and bool_or count count_if first group_concat last list"
    " listagg max max_by median min min_by mode quantile_cont quantile_disc stddev stddev_pop stddev_samp string_agg"
    " sum var_pop var_samp variance"
)
_WINDOWS = (
    "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number"
)  # fmt: skip
_TEXTS = (
    "concat concat_ws contains ends_with hex left length lower ltrim regexp_matches replace right rtrim split_part"
    " starts_with strpos substr substring trim upper"
)
_NUMBERS = "abs ceil ceiling coalesce floor greatest if ifnull least mod nullif round sign"
_TIMES = (
    "age current_date current_timestamp date_add date_diff date_part date_trunc datediff datepart day dayname dayofweek"
    " dayofyear epoch extract hour isodow last_day make_date minute month monthname now quarter second strftime"
    " strptime time_bucket to_timestamp today week year"
)
PERSON = "person"
"""A customer by the CRM's number; replaced before anything runs (see `persons`)."""
FUNCTIONS = _words(" ".join((_AGGREGATES, _WINDOWS, _TEXTS, _NUMBERS, _TIMES, PERSON)))
"""Names a statement may call. None of them reads a file, a setting, the environment or a catalogue, or can be made to
return more than a few times what it is given."""

BEFORE_BRACKET = _words(
    "all and any as between by case cast cube distinct else end escape except exclude exists filter from group grouping"
    " having ilike in interval intersect is join like limit not offset on or order over partition qualify rollup select"
    " set sets then try_cast union using when where with materialized outer inner left right full cross semi anti"
    " lateral values timestamp date timestamptz decimal numeric varchar"
)
"""Words that stand before a bracket without being called."""

RENDERED = frozenset({"typeof", "octet_length", "power", "array_agg", "make_timestamp", "epoch_ms"})
"""What the renderer puts in place of allowed functions, besides allowed ones."""

ANONYMOUS = frozenset({"now", "date_part", "datepart", "age", PERSON})
"""Allowed functions that the parser has no class for."""

TYPES = _words(
    "BIGINT BOOLEAN DATE DECIMAL DOUBLE FLOAT INT INTERVAL SMALLINT TEXT TIME TIMESTAMP TIMESTAMPNTZ TIMESTAMPTZ"
    " TINYINT VARCHAR BLOB VARBINARY"
)

_QUERY_PARTS = frozenset({"with_", "order", "limit", "offset"})
_SET_PARTS = _QUERY_PARTS | {"this", "expression", "distinct", "by_name"}
_ANY = frozenset({"this", "expression", "expressions"})
ARGUMENTS: Mapping[type[exp.Expr], frozenset[str]] = {
    exp.Select: _QUERY_PARTS | {"expressions", "distinct", "from_", "joins", "where", "group", "having", "qualify"},
    exp.Union: _SET_PARTS,
    exp.Except: _SET_PARTS,
    exp.Intersect: _SET_PARTS,
    exp.Subquery: _QUERY_PARTS | {"this", "alias"},
    exp.With: frozenset({"expressions"}),
    exp.CTE: frozenset({"this", "alias", "materialized"}),
    exp.From: frozenset({"this"}),
    exp.Table: frozenset({"this", "alias"}),
    exp.TableAlias: frozenset({"this", "columns"}),
    exp.Join: frozenset({"this", "on", "side", "kind", "using", "method"}),
    exp.Where: frozenset({"this"}),
    exp.Having: frozenset({"this"}),
    exp.Qualify: frozenset({"this"}),
    exp.Group: frozenset({"expressions", "grouping_sets", "cube", "rollup", "all"}),
    exp.GroupingSets: _ANY,
    exp.Cube: _ANY,
    exp.Rollup: _ANY,
    exp.Order: frozenset({"this", "expressions"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.Limit: frozenset({"expression"}),
    exp.Offset: frozenset({"expression"}),
    exp.Distinct: frozenset({"expressions", "on"}),
    exp.Column: frozenset({"this", "table"}),
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Alias: frozenset({"this", "alias"}),
    exp.Star: frozenset({"except_"}),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Boolean: frozenset({"this"}),
    exp.Null: frozenset(),
    exp.Paren: frozenset({"this"}),
    exp.Tuple: frozenset({"expressions"}),
    exp.Var: frozenset({"this"}),
    exp.Interval: frozenset({"this", "unit"}),
    exp.DataType: frozenset({"this", "expressions", "nested"}),
    exp.DataTypeParam: frozenset({"this", "expression"}),
    exp.Case: frozenset({"this", "ifs", "default"}),
    exp.If: frozenset({"this", "true", "false"}),
    exp.In: frozenset({"this", "expressions", "query"}),
    exp.Between: frozenset({"this", "low", "high", "symmetric"}),
    exp.Cast: frozenset({"this", "to"}),
    exp.TryCast: frozenset({"this", "to", "requires_string", "safe"}),
    exp.Window: frozenset({"this", "partition_by", "order", "spec", "over"}),
    exp.WindowSpec: frozenset({"kind", "start", "start_side", "end", "end_side", "exclude"}),
    exp.Filter: frozenset({"this", "expression"}),
    exp.AtTimeZone: frozenset({"this", "zone"}),
    exp.IgnoreNulls: _ANY,
    exp.RespectNulls: _ANY,
    exp.Exists: _ANY,
}
"""Kinds of syntax whose parts are named one by one: a part that is not here is refused."""

_OPERATORS = (
    exp.Add, exp.And, exp.Div, exp.DPipe, exp.EQ, exp.Escape, exp.GT, exp.GTE, exp.ILike, exp.IntDiv, exp.Is, exp.LT,
    exp.LTE, exp.Like, exp.Mod, exp.Mul, exp.NEQ, exp.Neg, exp.Not, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Or, exp.Sub,
)  # fmt: skip
_CALLS = (
    exp.Abs, exp.AnyValue, exp.ApproxDistinct, exp.ArgMax, exp.ArgMin, exp.ArrayAgg, exp.Avg, exp.Ceil, exp.Coalesce,
    exp.Concat, exp.ConcatWs, exp.Contains, exp.Count, exp.CountIf, exp.CumeDist, exp.CurrentDate,
    exp.CurrentTimestamp, exp.DateAdd, exp.DateBin, exp.DateDiff, exp.DateFromParts, exp.Day, exp.DayOfWeek,
    exp.DayOfWeekIso, exp.DayOfYear, exp.Dayname, exp.DenseRank, exp.EndsWith, exp.Extract, exp.First, exp.FirstValue,
    exp.Floor, exp.Greatest, exp.GroupConcat, exp.Hex, exp.Hour, exp.Lag, exp.Last, exp.LastDay, exp.LastValue,
    exp.Lead, exp.Least, exp.Left, exp.Length, exp.LogicalAnd, exp.LogicalOr, exp.Lower, exp.Max, exp.Median, exp.Min,
    exp.Minute, exp.Mode, exp.Month, exp.Monthname, exp.NthValue, exp.Ntile, exp.Nullif, exp.PercentRank,
    exp.PercentileCont, exp.PercentileDisc, exp.Quarter, exp.Rank, exp.RegexpLike, exp.Replace, exp.Right, exp.Round,
    exp.RowNumber, exp.Second, exp.Sign, exp.SplitPart, exp.StartsWith, exp.Stddev, exp.StddevPop, exp.StddevSamp,
    exp.StrPosition, exp.StrToTime, exp.Substring, exp.Sum, exp.TimeToStr, exp.TimeToUnix, exp.TimestampTrunc,
    exp.Trim, exp.UnixToTime, exp.Upper, exp.Variance, exp.VariancePop, exp.Week, exp.Year, exp.Anonymous,
)  # fmt: skip
NODES = frozenset(ARGUMENTS) | frozenset(_OPERATORS) | frozenset(_CALLS)
"""Every kind of syntax a statement may hold, by exact class."""

JOINS = frozenset({"", "INNER", "OUTER", "CROSS", "SEMI", "ANTI"})
SIDES = frozenset({"", "LEFT", "RIGHT", "FULL"})
METHODS = frozenset({"", "NATURAL"})
